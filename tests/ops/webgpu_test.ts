import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { opSuite } from "./suite.ts";
import { sumSuite } from "./sums.ts";

// Both sets of kernels on any adapter: those for hardware also run on a software adapter, though slowly. Unfused programs,
// which tell a backend's faults from the compiler's, run with one set.
for (const kind of ["software", "hardware"] as const) {
  const variant = kind === "software" ? "kernels for software adapters" : "kernels for hardware";
  await opSuite(() => openWebgpu(kind), "webgpu", { variant, compiledOnly: kind === "hardware" });
  await sumSuite(() => openWebgpu(kind), `webgpu, ${variant}`, { mostAlike: 2e-5 });
}
