import { assert, assertEquals, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { writeWhole } from "../base/files.ts";
import { HostArray } from "../trace/host_array.ts";
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import type { Snapshot } from "./observer.ts";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

const filter = Float32Array.from({ length: 2 * 3 * 3 * 4 }, (_, i) => i);
const snapshot: Snapshot = {
  step: 12,
  bestError: 0.25,
  tensors: new Map([
    ["conv1.weight", new HostArray(filter, [2, 3, 3, 4])],
    ["fc.weight", new HostArray(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2])],
    ["local.0.steps", new HostArray(Int32Array.of(7), [])],
  ]),
  configuration: { model: "resnet8", seed: 3 },
  devices: [{ arithmetic: "cpu, WebAssembly", firstStep: 0 }],
};
const settings = { dataset: "shapes" };

Deno.test("readCheckpoint() returns what was written, bit for bit", () =>
  inFolder(async (dir) => {
    const path = `${dir}/last.safetensors`;
    await writeCheckpoint(path, { snapshot, settings });
    assertEquals(await readCheckpoint(path), { snapshot, settings });
    assertEquals([...Deno.readDirSync(dir)].length, 1);
    const { bestError: _, devices: __, ...fresh } = snapshot; // as an earlier version wrote it
    await writeCheckpoint(path, { snapshot: fresh, settings: {} });
    assertEquals(await readCheckpoint(path), { snapshot: fresh, settings: {} });
  }));

Deno.test("writeCheckpoint() writes filters as OIHW and leaves linear layers alone", () =>
  inFolder(async (dir) => {
    const path = `${dir}/x.safetensors`;
    await writeCheckpoint(path, { snapshot, settings });
    const { tensors, metadata } = decodeSafetensors(await Deno.readFile(path), path);
    assertEquals(metadata["format"], "pt");
    const { shape, data } = tensors.get("conv1.weight")!;
    assertEquals(shape, [2, 4, 3, 3]);
    for (let o = 0, at = 0; o < 2; o++) {
      for (let i = 0; i < 4; i++) {
        for (let r = 0; r < 3; r++) {
          for (let s = 0; s < 3; s++, at++) assertEquals(data[at], filter[((o * 3 + r) * 3 + s) * 4 + i]);
        }
      }
    }
    assertEquals(tensors.get("fc.weight"), snapshot.tensors.get("fc.weight"));
  }));

Deno.test("writeCheckpoint() refuses settings that could not be read back", () =>
  inFolder(async (dir) => {
    const path = `${dir}/x.safetensors`;
    const circle: { [name: string]: unknown } = {};
    circle["again"] = circle;
    let deep: unknown = 1;
    for (let i = 0; i < 40; i++) deep = [deep];
    for (const wrong of [circle, deep, 1n, [{ a: 1n }]]) {
      await assertRejects(
        () => writeCheckpoint(path, { snapshot, settings: { wrong } }),
        LocalgradError,
        "settings.wrong is",
      );
      const odd = { ...snapshot, configuration: { wrong } };
      const writing = () => writeCheckpoint(path, { snapshot: odd, settings });
      await assertRejects(writing, LocalgradError, "configuration.wrong is");
    }
    assertEquals([...Deno.readDirSync(dir)], []);
  }));

Deno.test("readCheckpoint() finds a change of any byte", () =>
  inFolder(async (dir) => {
    const path = `${dir}/x.safetensors`;
    await writeCheckpoint(path, { snapshot, settings });
    const whole = await Deno.readFile(path);
    for (let at = 0; at < whole.length; at++) {
      const bytes = whole.slice();
      bytes[at] ^= 1;
      await Deno.writeFile(path, bytes);
      const result = await readCheckpoint(path).catch((error) => {
        assert(error instanceof LocalgradError, `byte ${at}: ${error}`);
        assert(error.message.includes(path), error.message);
      });
      // Some bytes are not used: the name of the format, and padding.
      if (result !== undefined) assertEquals(result, { snapshot, settings }, `byte ${at}`);
    }
  }));

Deno.test("readCheckpoint() names the fault of a file that is not a checkpoint", () =>
  inFolder(async (dir) => {
    const path = `${dir}/x.safetensors`;
    await assertRejects(() => readCheckpoint(path), LocalgradError, "there is no checkpoint");
    await Deno.writeFile(path, encodeSafetensors({ tensors: snapshot.tensors, metadata: {} }));
    await assertRejects(() => readCheckpoint(path), LocalgradError, "not written by localgrad");
    await Deno.writeTextFile(path, "hello");
    await assertRejects(() => readCheckpoint(path), LocalgradError, "not a complete safetensors file");
  }));

Deno.test("readCheckpoint() names the wrong field of a header whose checksum is right", () =>
  inFolder(async (dir) => {
    const path = `${dir}/x.safetensors`;
    const cases: [string, string][] = [
      ["null", "x.safetensors is null, not an object; use another checkpoint"],
      ["{", "x.safetensors is damaged: it is not JSON"],
      ['{"version":3}', "has format 3; this localgrad reads formats up to 2"],
      ['{"version":1}', "step is missing; it must be a whole number of at least 0"],
      ['{"version":1,"step":-1}', "step is -1, not a whole number"],
      ['{"version":1,"step":1,"configuration":[],"settings":{}}', "configuration is a list, not an object"],
      [
        '{"version":1,"step":1,"bestError":"0","configuration":{},"settings":{}}',
        'bestError is "0", not a number',
      ],
    ];
    for (const [localgrad, message] of cases) {
      const sha256 = createHash("sha256").update(localgrad).digest("hex");
      await Deno.writeFile(path, encodeSafetensors({ tensors: new Map(), metadata: { localgrad, sha256 } }));
      await assertRejects(() => readCheckpoint(path), LocalgradError, message);
    }
  }));

Deno.test("writeWhole() leaves the old file, and nothing else, where writing fails", () =>
  inFolder(async (dir) => {
    await writeWhole(`${dir}/a`, "old");
    await assertRejects(() => writeWhole(`${dir}/missing/a`, "new"));
    await Deno.mkdir(`${dir}/folder`);
    await assertRejects(() => writeWhole(`${dir}/folder`, "new"));
    await writeWhole(`${dir}/a`, "new");
    assertEquals(await Deno.readTextFile(`${dir}/a`), "new");
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name).sort(), ["a", "folder"]);
  }));
