// One thread that decodes images. It begins and ends with its pool, decoders.ts, and does the jobs it is sent in turn.
// It is started from its text, so that no permission is needed to read it.
import { parentPort, workerData as limits } from "node:worker_threads";
import {
  AlphaAction,
  ColorSpace,
  FilterType,
  initializeImageMagick,
  MagickFormat,
  MagickGeometry,
  MagickImage,
  MagickImageInfo,
  MagickReadSettings,
  ResourceLimits,
} from "npm:@imagemagick/magick-wasm@0.0.43";
import source wasm from "npm:@imagemagick/magick-wasm@0.0.43/magick.wasm";

await initializeImageMagick(wasm);
ResourceLimits.width = ResourceLimits.height = BigInt(limits.side);
ResourceLimits.area = BigInt(4 * limits.area); // counted in channels
ResourceLimits.memory = ResourceLimits.maxMemoryRequest = BigInt(limits.memory);
ResourceLimits.disk = 0n; // where it would put what its memory may not hold

parentPort.postMessage({ ready: true });
parentPort.on("message", (job) => {
  const began = performance.now();
  try {
    const pixels = job.check === undefined ? load(job) : check(job);
    const reply = { id: job.id, pixels, milliseconds: performance.now() - began };
    parentPort.postMessage(reply, pixels === undefined ? [] : [pixels.buffer]);
  } catch (error) {
    parentPort.postMessage({ id: job.id, error: `${job.path} ${reason(error)}`, broken: isFatal(error) });
  }
});

class Unreadable extends Error {}

/** Whether WebAssembly itself gave up, and is of no use any more. */
function isFatal(error) {
  return error instanceof WebAssembly.RuntimeError || error?.name === "ExitStatus";
}

const LARGE = /instance is disposed|memory|limit|exceeds|exhausted/i;

function reason(error) {
  if (error instanceof Unreadable) return error.message;
  if (error instanceof Deno.errors.NotFound) return "is not there any more";
  if (error instanceof Deno.errors.NotCapable) return "may not be read; allow it with --allow-read";
  if (error instanceof Deno.errors.PermissionDenied) return "cannot be read: the system does not permit it";
  const text = plain(String(error?.message ?? error));
  if (LARGE.test(text) || error?.name === "ExitStatus") {
    return "takes more memory than a picture may; make it smaller";
  }
  return /UnexpectedEndOfFile|InsufficientImageData/.test(text) ? "is truncated" : `is damaged (${text})`;
}

/** A message of ImageMagick without the place in its source. */
function plain(message) {
  return message.replace(/ `[^]*$/, "").trim();
}

/** A regular file of a length that can be held. */
function open(path) {
  const { isFile, size } = Deno.statSync(path); // opening a named pipe would wait for a writer
  if (!isFile) throw new Unreadable("is not a regular file");
  if (size === 0) throw new Unreadable("is empty");
  if (size > limits.memory) {
    throw new Unreadable(`has ${size} bytes, and a picture may have ${limits.memory}; make it smaller`);
  }
  return Deno.openSync(path);
}

function read(path) {
  const file = open(path);
  try {
    const bytes = new Uint8Array(file.statSync().size);
    let filled = 0;
    for (let count = 1; count > 0; filled += count) count = file.readSync(bytes.subarray(filled)) ?? 0;
    return bytes.subarray(0, filled);
  } finally {
    file.close();
  }
}

/** The bytes of an image of `size` × `size`: a random crop where there are random numbers, else the centre. */
function load({ path, size, draws }) {
  return withImage(read(path), (image) => {
    if (draws === undefined) centre(image, size);
    else randomResizedCrop(image, size, draws);
    return image.getPixels((pixels) => pixels.toByteArray(0, 0, size, size, "RGB"));
  });
}

/** Refuses a file that cannot be read. Unless all of it is asked for, one that begins and ends well is believed. */
function check({ path, check }) {
  if (check === "ends" && endsWell(path)) return undefined;
  withImage(read(path), () => {});
  return undefined;
}

const ascii = (text) => Array.from(text, (letter) => letter.charCodeAt(0));
const has = (bytes, at, expected) => expected.every((byte, i) => bytes[at + i] === byte);

const FORMATS = {
  Jpeg: (bytes) => has(bytes, 0, [0xff, 0xd8, 0xff]),
  Png: (bytes) => has(bytes, 0, [0x89, ...ascii("PNG")]),
  WebP: (bytes) => has(bytes, 0, ascii("RIFF")) && has(bytes, 8, ascii("WEBP")),
  Bmp: (bytes) => has(bytes, 0, ascii("BM")),
  Tiff: (bytes) => has(bytes, 0, [...ascii("II"), 42, 0]) || has(bytes, 0, [...ascii("MM"), 0, 42]),
};

/** What a file is by its first bytes, whatever its name says. */
function formatOf(bytes) {
  return Object.keys(FORMATS).find((name) => FORMATS[name](bytes));
}

/** Whether a file begins and ends as its format does; BMP and TIFF have no end that tells. */
function endsWell(path) {
  const file = open(path);
  try {
    const [head, tail] = [new Uint8Array(12), new Uint8Array(12)];
    if (file.readSync(head) !== 12) return false;
    const length = file.seekSync(0, Deno.SeekMode.End);
    file.seekSync(-12, Deno.SeekMode.End);
    if (file.readSync(tail) !== 12) return false;
    const format = formatOf(head);
    if (format === "Jpeg") return has(tail, 10, [0xff, 0xd9]);
    if (format === "Png") return has(tail, 4, [...ascii("IEND"), 0xae, 0x42, 0x60, 0x82]);
    return format === "WebP" && new DataView(head.buffer).getUint32(4, true) + 8 === length;
  } finally {
    file.close();
  }
}

/** The width and height that a file states, before anything is decoded; none where its header is damaged. */
function statedSize(bytes, format) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (format === "Png") return bytes.length < 24 ? undefined : [view.getUint32(16), view.getUint32(20)];
  if (format !== "Jpeg") {
    const { width, height } = MagickImageInfo.create(bytes, settings(format));
    return [width, height];
  }
  // Segments of a marker and a length, up to the start of a frame, which has none of the codes C4, C8 and CC.
  for (let at = 2; at + 9 <= bytes.length;) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff) return undefined;
    if (marker >= 0xc0 && marker <= 0xcf && marker % 4 !== 0 || marker === 0xc0) {
      return [view.getUint16(at + 7), view.getUint16(at + 5)];
    }
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return undefined;
}

function expectSize(bytes, format) {
  const [width, height] = statedSize(bytes, format) ?? [0, 0];
  const size = `has ${width}×${height} pixels`;
  if (Math.max(width, height) > limits.side) {
    throw new Unreadable(`${size}, and a side may have ${limits.side}; make it smaller`);
  }
  if (width * height > limits.area) {
    throw new Unreadable(`${size}, and a picture may have ${limits.area}; make it smaller`);
  }
}

/** Of a file of several pictures, the first is taken. */
function settings(format) {
  return new MagickReadSettings({ format: MagickFormat[format], frameIndex: 0, frameCount: 1 });
}

/** Decodes to RGB of 8 bits, turned upright, transparency left out. */
function withImage(bytes, use) {
  const format = formatOf(bytes);
  if (format === undefined) {
    throw new Unreadable("is no JPEG, PNG, WebP, BMP or TIFF, whatever its name says");
  }
  expectSize(bytes, format);
  const image = MagickImage.create();
  try {
    const warnings = [];
    image.onWarning = ({ error }) => warnings.push(error.message);
    image.read(bytes, settings(format));
    const fault = warnings.map(faultOf).find((fault) => fault !== undefined);
    if (fault !== undefined) throw new Unreadable(fault);
    image.resetPage(); // a place on a larger canvas, which crops would be taken from
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
