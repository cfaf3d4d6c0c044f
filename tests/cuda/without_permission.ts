/** Run by missing_test.ts with a permission denied: prints the messages of `doctor`, `train` and `auto` as JSON. */
import { doctor } from "../../src/cli/doctor.ts";
import { open } from "../../src/runtime/devices.ts";

const lines: string[] = [], log = console.log;
console.log = (...data: unknown[]) => void lines.push(data.join(" "));
await doctor([]);
console.log = log;
const refused = await open("cuda").then((device) => device.close(), (error: Error) => error.message);
await using next = await open("auto");
console.log(JSON.stringify({ told: lines.join("\n"), refused, choice: next.choice }));
