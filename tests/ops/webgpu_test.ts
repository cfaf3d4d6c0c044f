import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { opSuite } from "./suite.ts";

// Both sets of kernels, whatever the adapter is: those for hardware run on a software adapter too, only slowly.
await opSuite(() => openWebgpu("software"), "webgpu", "kernels for software adapters");
await opSuite(() => openWebgpu("hardware"), "webgpu", "kernels for hardware");
