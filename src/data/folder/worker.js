// A thread that decodes images for the pool in decoders.ts, doing its jobs in order. It is started from its source text,
// so that reading it needs no permission.
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
ResourceLimits.area = BigInt(4 * limits.area); // in channels
ResourceLimits.memory = ResourceLimits.maxMemoryRequest = BigInt(limits.memory);
ResourceLimits.disk = 0n; // no spilling to disk

parentPort.postMessage({ ready: true });
parentPort.on("message", (job) => {
  const began = performance.now();
  try {
    const { pixels, ...shown } = (job.check === undefined ? load : check)(job);
    const reply = { id: job.id, pixels, ...shown, milliseconds: performance.now() - began };
    parentPort.postMessage(reply, pixels === undefined ? [] : [pixels.buffer]);
  } catch (error) {
    parentPort.postMessage({ id: job.id, error: `${job.path} ${reason(error)}`, broken: isFatal(error) });
  }
});

class Unreadable extends Error {}

/** Returns true if the WebAssembly instance has crashed and cannot be used again. */
function isFatal(error) {
  return error instanceof WebAssembly.RuntimeError || error?.name === "ExitStatus";
}

const LARGE = /instance is disposed|memory|limit|exceeds|exhausted/i;

function reason(error) {
  if (error instanceof Unreadable) return error.message;
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.NotCapable) return "may not be read; allow it with --allow-read";
  if (error instanceof Deno.errors.PermissionDenied) return "cannot be read: the system does not permit it";
  const text = plain(String(error?.message ?? error));
  if (LARGE.test(text) || error?.name === "ExitStatus") {
    return "needs more memory than a picture may use; make it smaller";
  }
  return /UnexpectedEndOfFile|InsufficientImageData/.test(text) ? "is truncated" : `is damaged (${text})`;
}

/** A message of ImageMagick, without the location in its source. */
function plain(message) {
  return message.replace(/ `[^]*$/, "").trim();
}

/** Opens a regular file that is not too long. */
function open(path) {
  const { isFile, size } = Deno.statSync(path); // opening a named pipe would wait for a writer
  if (!isFile) throw new Unreadable("is not a regular file");
  expectLength(size);
  return Deno.openSync(path);
}

function expectLength(size) {
  if (size === 0) throw new Unreadable("is empty");
  if (size > limits.memory) {
    throw new Unreadable(`has ${size} bytes, but the limit is ${limits.memory}; make it smaller`);
  }
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

/** The crop of ImageNet's test images. */
const CROP = 224 / 256;

/**
 * Decodes an image to bytes of `size` pixels: a box, the whole picture, a random crop if there are random numbers, else the
 * centre. Of a whole picture it says the rows and columns that it has, and has in the image.
 */
function load({ path, bytes, size, crop = CROP, draws, box, whole, fill }) {
  if (bytes !== undefined) expectLength(bytes.length);
  const [height, width] = typeof size === "number" ? [size, size] : size;
  return withImage(bytes ?? read(path), (image) => {
    if (box !== undefined) return { pixels: boxed(image, height, width, box, fill) };
    if (whole) {
      const box = wholeOf(image, height, width);
      return { pixels: boxed(image, height, width, box, fill), of: box.of, to: box.to };
    }
    if (draws === undefined) centre(image, height, width, crop);
    else randomResizedCrop(image, height, width, draws);
    return { pixels: image.getPixels((pixels) => pixels.toByteArray(0, 0, width, height, "RGB")) };
  });
}

/** Rejects a file that cannot be decoded. To check only the ends, a file that begins and ends correctly is accepted. */
function check({ path, bytes, check }) {
  if (bytes !== undefined) expectLength(bytes.length);
  if (check === "ends" && endWell(...endsOf(path, bytes))) return {};
  withImage(bytes ?? read(path), () => {});
  return {};
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

/** The format of a file by its first bytes, regardless of its name. */
function formatOf(bytes) {
  return Object.keys(FORMATS).find((name) => FORMATS[name](bytes));
}

/** The first and the last twelve bytes of a file, and its length. */
function endsOf(path, bytes) {
  if (bytes !== undefined) return [bytes.slice(0, 12), bytes.slice(-12), bytes.length];
  const file = open(path);
  try {
    const [head, tail] = [new Uint8Array(12), new Uint8Array(12)];
    if (file.readSync(head) !== 12) return [new Uint8Array(), tail, 0];
    const length = file.seekSync(0, Deno.SeekMode.End);
    file.seekSync(-12, Deno.SeekMode.End);
    if (file.readSync(tail) !== 12) return [new Uint8Array(), tail, 0];
    return [head, tail, length];
  } finally {
    file.close();
  }
}

/** Returns true if a file begins and ends as its format requires; BMP and TIFF have no end marker. */
function endWell(head, tail, length) {
  if (head.length < 12) return false;
  const format = formatOf(head);
  if (format === "Jpeg") return has(tail, 10, [0xff, 0xd9]);
  if (format === "Png") return has(tail, 4, [...ascii("IEND"), 0xae, 0x42, 0x60, 0x82]);
  return format === "WebP" && new DataView(head.buffer).getUint32(4, true) + 8 === length;
}

/** The width and height in the header of a file; undefined if it is damaged. */
function statedSize(bytes, format) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (format === "Png") return bytes.length < 24 ? undefined : [view.getUint32(16), view.getUint32(20)];
  if (format !== "Jpeg") {
    const { width, height } = MagickImageInfo.create(bytes, settings(format));
    return [width, height];
  }
  // Segments of a marker and a length, up to a start of frame: C0 to CF except C4, C8 and CC.
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
  const size = `has ${width}×${height} pixels, but the limit is`;
  if (Math.max(width, height) > limits.side) {
    throw new Unreadable(`${size} ${limits.side} on a side; make it smaller`);
  }
  if (width * height > limits.area) {
    throw new Unreadable(`${size} ${limits.area} in total; make it smaller`);
  }
}

/** Settings that read the first picture of a file. */
function settings(format) {
  return new MagickReadSettings({ format: MagickFormat[format], frameIndex: 0, frameCount: 1 });
}

/** Decodes to 8-bit RGB, rotated upright, without transparency. */
function withImage(bytes, use) {
  const format = formatOf(bytes);
  if (format === undefined) {
    throw new Unreadable("is not a JPEG, PNG, WebP, BMP or TIFF, whatever its name");
  }
  expectSize(bytes, format);
  const image = MagickImage.create();
  try {
    const warnings = [];
    image.onWarning = ({ error }) => warnings.push(error.message);
    image.read(bytes, settings(format));
    const fault = warnings.map(faultOf).find((fault) => fault !== undefined);
    if (fault !== undefined) throw new Unreadable(fault);
    image.resetPage(); // crops would be relative to the canvas otherwise
    image.autoOrient();
    if (image.colorSpace === ColorSpace.CMYK) image.colorSpace = ColorSpace.sRGB;
    image.alpha(AlphaAction.Off);
    return use(image);
  } finally {
    image.dispose();
  }
}

/** The fault that a decoder warning reports; stray bytes between intact segments and odd metadata are harmless. */
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
  image.filterType = FilterType.Triangle; // bilinear, with a support scaled to the reduction
  image.resize(geometry);
}

function crop(image, left, top, width, height) {
  image.crop(new MagickGeometry(left, top, width, height));
  image.resetPage();
}

/** The box of a whole picture, as large as fits: what boxOf() of boxes.ts returns for it. */
function wholeOf({ height: rows, width: columns }, height, width) {
  const scale = Math.min(height / rows, width / columns);
  const resized = (extent, room) => Math.min(room, Math.max(1, Math.round(extent * scale)));
  const to = [resized(rows, height), resized(columns, width)];
  return { of: [rows, columns], top: 0, left: 0, height: rows, width: columns, to, flip: false };
}

/** Shows a part of a picture in the upper left of an image of one colour. */
function boxed(
  image,
  height,
  width,
  { of, top, left, height: rows, width: columns, to, flip },
  fill = [0, 0, 0],
) {
  if (image.height !== of[0] || image.width !== of[1]) {
    throw new Unreadable(`has ${image.width}×${image.height} pixels, but its label map ${of[1]}×${of[0]}`);
  }
  crop(image, left, top, columns, rows);
  resize(image, to[1], to[0]);
  if (flip) image.flop();
  const own = image.getPixels((pixels) => pixels.toByteArray(0, 0, to[1], to[0], "RGB"));
  if (to[0] === height && to[1] === width) return own;
  const canvas = new Uint8Array(height * width * 3).map((_, i) => fill[i % 3]);
  const row = 3 * to[1];
  for (let y = 0; y < to[0]; y++) canvas.set(own.subarray(y * row, (y + 1) * row), y * width * 3);
  return canvas;
}

/** Rounds to the nearest integer, halves to even. */
function round(value) {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + down % 2 : Math.round(value);
}

/** Resizes until `height / share` × `width / share` pixels just fit into the image, and crops its centre. */
function centre(image, height, width, share) {
  const [boxHeight, boxWidth] = [round(height / share), round(width / share)];
  const [toWidth, toHeight] = image.width * boxHeight < image.height * boxWidth
    ? [boxWidth, Math.trunc(boxWidth * image.height / image.width)]
    : [Math.trunc(boxHeight * image.width / image.height), boxHeight];
  resize(image, toWidth, toHeight);
  crop(image, round((toWidth - width) / 2), round((toHeight - height) / 2), width, height);
}

/**
 * Crops 8 to 100 % of the area with proportions from 3:4 to 4:3, resizes (Szegedy et al., 2014, arXiv 1409.4842,
 * section 6) and mirrors half of the images. Each attempt takes four random numbers; after ten, the largest centre crop.
 */
function randomResizedCrop(image, height, width, draws) {
  const box = randomBox(image.width, image.height, draws);
  crop(image, box.left, box.top, box.width, box.height);
  resize(image, width, height);
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
