/**
 * Checks that an element read at an index may be undefined (`noUncheckedIndexedAccess`) in the folders listed below.
 * The compiler applies the option to a whole program only, so this runs it and keeps the errors in those folders. Run
 * by `deno task check`.
 */

/** The folders that are checked. */
const FOLDERS: readonly string[] = [
  "src/backends/cuda",
  "src/backends/reference",
  "src/autograd",
  "src/runtime",
  "src/base",
  "ffi",
  "src/cli",
  "src/data",
  "src/trace",
  "src/backends/webgpu",
  "src/local",
  "src/compile",
  "src/models",
  "src/nn",
  "src/optim",
  "src/artifacts",
  "src/onnx",
  "src/training",
];

const config = JSON.parse(await Deno.readTextFile("deno.json"));
config.compilerOptions.noUncheckedIndexedAccess = true;
const file = await Deno.makeTempFile({ suffix: ".json" });
await Deno.writeTextFile(file, JSON.stringify(config));
const { stderr } = await new Deno.Command("deno", {
  args: ["check", "--config", file, "--no-lock", "mod.ts", "src/cli/main.ts", "src/data/datasets.ts"],
  env: { NO_COLOR: "1" },
  stderr: "piped",
}).output();
await Deno.remove(file);

const reports = new TextDecoder().decode(stderr).split("\n\n");
const root = import.meta.dirname?.replace(/\.ci$/, "");
const starts = FOLDERS.map((folder) => `    at file://${root}${folder}/`);
const kept = reports.filter((report) =>
  report.split("\n").some((line) => starts.some((start) => line.startsWith(start)))
);
for (const report of kept) console.error(`${report.trim()}\n`);
if (kept.length > 0) Deno.exit(1);
