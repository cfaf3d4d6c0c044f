import { assertEquals } from "@std/assert";
import { skips } from "../gate.ts";
import { bf16Suite } from "../ops/bf16.ts";
import { opSuite } from "../ops/suite.ts";
import { sumSuite } from "../ops/sums.ts";
import { openSimulated, report } from "./simulated.ts";

// The op suite of every backend, through the whole CUDA backend. g++ takes a tenth of a second for each kernel, so there are
// fewer random ones; `LOCALGRAD_CASES` runs more, up to all of them.
const open = () => openSimulated({ precision: "f32" });
await opSuite(open, "cuda-simulated", { most: Number(Deno.env.get("LOCALGRAD_CASES") ?? 80) });
await bf16Suite(open, "cuda-simulated", 8);
await sumSuite(open, "cuda-simulated", { byLibrary: true });

const ignore = await skips("cuda-simulated", open);
Deno.test("cuda-simulated: nothing is left on the device", { ignore }, () => assertEquals(report(), ""));
