import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { opSuite } from "./suite.ts";

await opSuite(openWebgpu, "webgpu");
