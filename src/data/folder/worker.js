// One thread that decodes images. It begins and ends with its pool, decoders.ts, and does the jobs it is sent in turn.
// This file travels as text, so that it also starts where the library was imported by URL.
import { parentPort } from "node:worker_threads";
import {
  AlphaAction,
  ColorSpace,
  FilterType,
  initializeImageMagick,
  MagickFormat,
  MagickGeometry,
  MagickImage,
  MagickReadSettings,
} from "npm:@imagemagick/magick-wasm@0.0.43";
import source wasm from "npm:@imagemagick/magick-wasm@0.0.43/magick.wasm";

await initializeImageMagick(wasm);

parentPort.on("message", (job) => {
  const began = performance.now();
  try {
    const pixels = job.check === undefined ? load(job) : check(job);
    const reply = { id: job.id, pixels, milliseconds: performance.now() - began };
    parentPort.postMessage(reply, pixels === undefined ? [] : [pixels.buffer]);
  } catch (error) {
    parentPort.postMessage({ id: job.id, error: `${job.path} ${reason(error)}` });
  }
});

class Unreadable extends Error {}

function reason(error) {
  if (error instanceof Unreadable) return error.message;
  if (error instanceof Deno.errors.NotFound) return "is not there any more";
  if (error instanceof Deno.errors.NotCapable) return "may not be read; allow it with --allow-read";
  const text = plain(String(error?.message ?? error));
  if (/instance is disposed|memory|limit|exceeds/i.test(text)) return "is too large to be decoded";
  return /UnexpectedEndOfFile|InsufficientImageData/.test(text) ? "is truncated" : `is damaged (${text})`;
}

/** A message of ImageMagick without the place in its source. */
function plain(message) {
  return message.replace(/ `[^]*$/, "").trim();
}

/** The bytes of an image of `size` × `size`: a random crop where there are random numbers, else the centre. */
function load({ path, size, draws }) {
  return withImage(Deno.readFileSync(path), (image) => {
    if (draws === undefined) centre(image, size);
    else randomResizedCrop(image, size, draws);
    return image.getPixels((pixels) => pixels.toByteArray(0, 0, size, size, "RGB"));
  });
}

/** Refuses a file that cannot be read. Unless all of it is asked for, one that begins and ends well is believed. */
function check({ path, check }) {
  if (check === "ends" && endsWell(path)) return undefined;
  withImage(Deno.readFileSync(path), () => {});
  return undefined;
}

const starts = { Jpeg: [0xff, 0xd8, 0xff], Png: [0x89, 0x50, 0x4e, 0x47] };
const ends = { Jpeg: [0xff, 0xd9], Png: [0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82] };

/** What a file is by its first bytes, whatever its name says. */
function formatOf(bytes) {
  return Object.keys(starts).find((name) => starts[name].every((byte, i) => bytes[i] === byte));
}

function endsWell(path) {
  const file = Deno.openSync(path);
  try {
    const [head, tail] = [new Uint8Array(8), new Uint8Array(8)];
    if (file.readSync(head) !== 8) return false;
    file.seekSync(-8, Deno.SeekMode.End);
    if (file.readSync(tail) !== 8) return false;
    const end = ends[formatOf(head)];
    return end !== undefined && end.every((byte, i) => tail[8 - end.length + i] === byte);
  } finally {
    file.close();
  }
}

/** Decodes to RGB of 8 bits, turned upright, transparency left out. */
function withImage(bytes, use) {
  if (bytes.length === 0) throw new Unreadable("is empty");
  const format = formatOf(bytes);
  if (format === undefined) throw new Unreadable("is no JPEG or PNG, whatever its name says");
  const image = MagickImage.create();
  try {
    const warnings = [];
    image.onWarning = ({ error }) => warnings.push(error.message);
    image.read(bytes, new MagickReadSettings({ format: MagickFormat[format] }));
    const fault = warnings.map(faultOf).find((fault) => fault !== undefined);
    if (fault !== undefined) throw new Unreadable(fault);
    image.autoOrient();
    if (image.colorSpace === ColorSpace.CMYK) image.colorSpace = ColorSpace.sRGB;
    image.alpha(AlphaAction.Off);
    return use(image);
  } finally {
    image.dispose();
  }
}

/** What a warning of the decoder means; stray bytes between whole segments, and odd metadata, harm nothing. */
function faultOf(warning) {
  if (/premature end of jpeg|unexpected end/i.test(warning)) return "is truncated";
  if (/corrupt jpeg data/i.test(warning) && !/extraneous bytes/i.test(warning)) {
    return `is damaged (${plain(warning)})`;
  }
  return undefined;
}

function resize(image, width, height) {
  const geometry = new MagickGeometry(width, height);
  geometry.ignoreAspectRatio = true;
  image.filterType = FilterType.Triangle; // bilinear, with as wide a support as the reduction asks for
  image.resize(geometry);
}

function crop(image, left, top, width, height) {
  image.crop(new MagickGeometry(left, top, width, height));
  image.resetPage();
}

/** To the nearest whole number; halves to the even one. */
function round(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + down % 2 : Math.round(value);
}

/** The shorter side resized to size × 256 / 224, of which the centre is taken. */
function centre(image, size) {
  const { width, height } = image;
  const side = round(size * 256 / 224);
  const [toWidth, toHeight] = width < height
    ? [side, Math.trunc(side * height / width)]
    : [Math.trunc(side * width / height), side];
  resize(image, toWidth, toHeight);
  crop(image, round((toWidth - size) / 2), round((toHeight - size) / 2), size, size);
}

/**
 * A part of 8 to 100 % of the area and of proportions from 3:4 to 4:3, resized (Szegedy et al., 2014, arXiv 1409.4842,
 * section 6), and mirrored or not. Of every four random numbers one crop is tried; after ten, the largest at the centre.
 */
function randomResizedCrop(image, size, draws) {
  const { left, top, width, height } = randomBox(image.width, image.height, draws);
  crop(image, left, top, width, height);
  resize(image, size, size);
  if (draws[draws.length - 1] < 0.5) image.flop();
}

function randomBox(width, height, draws) {
  const within = (low, high, draw) => low + (high - low) * draw;
  for (let at = 0; at + 4 < draws.length; at += 4) {
    const area = width * height * within(0.08, 1, draws[at]);
    const ratio = Math.exp(within(Math.log(3 / 4), Math.log(4 / 3), draws[at + 1]));
    const [w, h] = [round(Math.sqrt(area * ratio)), round(Math.sqrt(area / ratio))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = Math.floor(draws[at + 2] * (height - h + 1));
    const left = Math.floor(draws[at + 3] * (width - w + 1));
    return { left, top, width: w, height: h };
  }
  const w = Math.min(width, Math.max(1, round(height * 4 / 3)));
  const h = Math.min(height, Math.max(1, round(width * 4 / 3)));
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}
