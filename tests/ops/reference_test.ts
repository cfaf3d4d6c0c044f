import { openReference } from "../../src/backends/reference/backend.ts";
import { opSuite } from "./suite.ts";

await opSuite(openReference, "reference");
