import { assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { inFolder } from "../../tests/in_folder.ts";
import { readReport } from "./run_record.ts";
import { readRun } from "./run_folder.ts";
import { loadWeights } from "./weights.ts";

const TEXT = new TextEncoder();

/** Beginnings of files by name, what they are, and what to do with them. */
const FILES: readonly [name: string, bytes: Uint8Array, what: string, remedy: string][] = [
  ["x.onnx", Uint8Array.of(8, 10, 0x12, 9), "an ONNX model", "ONNX Runtime runs it (docs/onnx.md)"],
  ["x", Uint8Array.of(8, 10, 0x12, 9), "an ONNX model", "ONNX Runtime runs it (docs/onnx.md)"],
  ["x.pth", Uint8Array.of(0x50, 0x4b, 3, 4), "a PyTorch pickle", "in Python: safetensors.torch.save_file"],
  ["x.png", Uint8Array.of(0x89, 0x50, 0x4e, 0x47), "a picture", "pictures to predict come after the flags"],
  ["x.jpg", Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), "a picture", "pictures to predict come after the flags"],
  ["x.h5", Uint8Array.of(0x89, 0x48, 0x44, 0x46), "an HDF5 file", "save its weights as safetensors"],
];

Deno.test("a file of another kind in place of a run or of weights: what it is, and what to do with it", () =>
  inFolder(async (dir) => {
    for (const [name, bytes, what, remedy] of FILES) {
      const path = `${dir}/${name}`;
      await Deno.writeFile(path, bytes);
      for (const read of [readReport, (path: string) => readRun(path, "best")]) {
        const { message } = await assertRejects(() => read(path), LocalgradError);
        assertEquals(message.startsWith(`${path} is ${what}, not the folder of a run; `), true, message);
        assertEquals(message.includes(remedy), true, message);
      }
      const { message } = await assertRejects(() => loadWeights(path), LocalgradError);
      assertEquals(message.startsWith(`${path} is ${what}, not a safetensors file; `), true, message);
      assertEquals(message.includes(remedy), true, message);
    }
  }));

Deno.test("a path of a run that is not its folder: which folder or file is meant", () =>
  inFolder(async (dir) => {
    const head = TEXT.encode("\x02\0\0\0\0\0\0\0{}");
    for (const run of ["a", "b", "c"]) {
      await Deno.mkdir(`${dir}/runs/${run}`, { recursive: true });
      await Deno.writeFile(`${dir}/runs/${run}/last.safetensors`, head);
    }
    await Deno.writeFile(`${dir}/export.safetensors`, head);
    await Deno.writeTextFile(`${dir}/notes.txt`, "notes");
    await Deno.writeTextFile(`${dir}/runs/a/metrics.jsonl`, "");
    const some = `it holds folders of runs: give one of them, ${dir}/runs/a, ${dir}/runs/b …`;
    const cases: [(path: string) => Promise<unknown>, path: string, message: string][] = [
      [readReport, "none", "there is nothing at"],
      [readReport, "runs", some],
      [readReport, "", "does not hold a run; give the folder of a run"],
      [readReport, "runs/a", "it holds a run of an earlier version"],
      [readReport, "runs/a/last.safetensors", `is a file of a run; give its folder, ${dir}/runs/a`],
      [
        readReport,
        "export.safetensors",
        "is a safetensors file, not the folder of a run; predict --run, eval",
      ],
      [readReport, "notes.txt", "is a file, not the folder of a run; give the folder that train wrote"],
      [
        (path) => readRun(path, "last"),
        "runs",
        `there is no checkpoint ${dir}/runs/last.safetensors; ${some}`,
      ],
      [loadWeights, "runs/a", `not a file of weights; its network is in ${dir}/runs/a/last.safetensors`],
      [
        loadWeights,
        "runs/a/metrics.jsonl",
        `has no weights; those of its run are in ${dir}/runs/a/last.safe`,
      ],
    ];
    for (const [read, path, message] of cases) {
      await assertRejects(() => read(path === "" ? dir : `${dir}/${path}`), LocalgradError, message);
    }
  }));
