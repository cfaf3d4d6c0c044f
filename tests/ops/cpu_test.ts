import { openCpu } from "../../src/backends/cpu/device.ts";
import { opSuite } from "./suite.ts";

await opSuite(() => openCpu(), "cpu");
