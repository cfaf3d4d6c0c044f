/**
 * Modules whose packages most commands do not use.
 *
 * Deno fetches the packages of every import that it finds in the source before it runs anything, also of an `import()`
 * with a literal. It does not find those whose specifier is computed. Reading such a module needs permission, which
 * every command that uses one has.
 *
 * @module
 */

const module = (path: string): Promise<unknown> => import(new URL(path, import.meta.url).href);

/** Loads what draws plots; needs `vega` and `vega-lite`. */
export const plots = () => module("./plot.ts") as Promise<typeof import("./plot.ts")>;

/** Loads what writes ONNX models; needs `@bufbuild/protobuf`. */
export const onnx = () => module("../onnx/onnx.ts") as Promise<typeof import("../onnx/onnx.ts")>;

/** Loads what reads folders of images; needs `@imagemagick/magick-wasm`. */
export const folders = () =>
  module("../data/folder/folder.ts") as Promise<typeof import("../data/folder/folder.ts")>;

/** Loads what reads folders of label maps; needs `@imagemagick/magick-wasm` and `fast-png`. */
export const labelMaps = () =>
  module("../data/folder/segmentation.ts") as Promise<typeof import("../data/folder/segmentation.ts")>;

/** Loads what decodes pictures; needs `@imagemagick/magick-wasm`. */
export const decoding = () =>
  module("../data/folder/pictures.ts") as Promise<typeof import("../data/folder/pictures.ts")>;

/** Loads what reads tables of images; needs `hyparquet` and `@imagemagick/magick-wasm`. */
export const tables = () =>
  module("../data/parquet/parquet.ts") as Promise<typeof import("../data/parquet/parquet.ts")>;
