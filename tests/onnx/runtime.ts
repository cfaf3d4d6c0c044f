/** ONNX Runtime for tests, which runs models in a Python process. */

import { fromFileUrl } from "@std/path";
import { skip } from "../gate.ts";
import type { HostData, Shape } from "../../src/trace/dtype.ts";

/** The Python that has onnx and onnxruntime: that of `LOCALGRAD_ONNX`, an environment, or else `python3`. */
const environment = Deno.env.get("LOCALGRAD_ONNX");
const python = environment === undefined ? "python3" : `${environment}/bin/python3`;

/** An input of a model. */
export interface Input {
  /** Extent of each axis. */
  readonly shape: Shape;
  /** Elements: f32, or integers and bools, which become INT64 and BOOL. */
  readonly data: HostData;
  /** True for bools; default false. */
  readonly bool?: boolean;
}

/** A model and inputs, by name, to run it on. */
export interface Model {
  readonly model: Uint8Array;
  readonly runs: readonly { readonly [name: string]: Input }[];
}

/** An output of a run. */
export interface Output {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** What ONNX Runtime says of a model. */
export interface Report {
  /** The outputs of each run. */
  readonly outputs: readonly (readonly Output[])[];
  /** Its operators in order. */
  readonly ops: readonly string[];
  /** The names of its tensors. */
  readonly initializers: readonly string[];
  /** The extents of its inputs, by name where they are not fixed. */
  readonly inputs: readonly (readonly (number | string)[])[];
  readonly metadata: { readonly [key: string]: string };
}

/** Tests whether the tests that need ONNX Runtime must be skipped; see `skips` in gate.ts. */
export function skipsRuntime(): boolean {
  const remedy =
    "pip install onnxruntime==1.32.0 onnx==1.23.2, and LOCALGRAD_ONNX is the environment's folder";
  try {
    const { success } = new Deno.Command(python, { args: ["-c", "import onnx, onnxruntime"] }).outputSync();
    if (success) return false;
    skip("onnx", { reason: `${python} has no onnx and onnxruntime`, remedy });
  } catch {
    skip("onnx", { reason: `there is no ${python}`, remedy });
  }
  return true;
}

/** Runs models, each after onnx has checked it; an error where either refuses it. */
export async function runModels(models: readonly Model[]): Promise<(Report | Error)[]> {
  const folder = await Deno.makeTempDir();
  try {
    const write = async (name: string, bytes: Uint8Array) => {
      await Deno.writeFile(`${folder}/${name}`, bytes);
      return name;
    };
    const cases = await Promise.all(models.map(async ({ model, runs }, i) => ({
      model: await write(`${i}.onnx`, model),
      runs: await Promise.all(runs.map(async (inputs, run) =>
        Object.fromEntries(
          await Promise.all(
            Object.entries(inputs).map(async ([name, { shape, data, bool = false }]) => {
              const [type, bytes] = stored(data, bool);
              return [name, { shape, type, file: await write(`${i}-${run}-${name}`, bytes) }];
            }),
          ),
        )
      )),
    })));
    await Deno.writeTextFile(`${folder}/cases.json`, JSON.stringify(cases));
    const script = fromFileUrl(new URL("run.py", import.meta.url));
    const { success, stderr } = await new Deno.Command(python, { args: [script, folder] }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    const results = JSON.parse(await Deno.readTextFile(`${folder}/results.json`));
    return await Promise.all(results.map(async ({ error, runs, ...facts }: {
      error?: string;
      runs: { file: string; shape: number[] }[][];
    }) => {
      if (error !== undefined) return new Error(error);
      const outputs = await Promise.all(
        runs.map((files) =>
          Promise.all(files.map(async ({ file, shape }) => ({
            shape,
            data: new Float64Array((await Deno.readFile(`${folder}/${file}`)).buffer),
          })))
        ),
      );
      return { outputs, ...facts };
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** NumPy's type of an input, and its bytes. */
function stored(data: HostData, bool: boolean): [string, Uint8Array] {
  if (bool) return ["bool", Uint8Array.from(data)];
  if (data instanceof Float32Array) {
    return ["float32", new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
  }
  return ["int64", new Uint8Array(BigInt64Array.from([...data], BigInt).buffer)];
}
