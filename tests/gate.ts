import type { Opened } from "../src/backends/backend.ts";

/** The devices that must be there: `LOCALGRAD_REQUIRE=webgpu,cuda` turns a skip into a failure. */
function required(): string[] {
  return (Deno.env.get("LOCALGRAD_REQUIRE") ?? "").split(",").map((name) => name.trim()).filter(Boolean);
}

/**
 * Whether the tests that need a device are to be skipped. A skip is never silent: it says why once, the tests stay
 * registered as ignored, so that the runner lists and counts them, and one more test fails where the device is
 * required.
 */
export async function skips(name: string, open: () => Opened | Promise<Opened>): Promise<boolean> {
  const opened = await open();
  if ("backend" in opened) {
    await opened.backend.close();
    return false;
  }
  console.error(`SKIPPED: tests of ${name}: ${opened.reason}. ${opened.remedy}`);
  Deno.test(`${name} is there, as LOCALGRAD_REQUIRE demands`, { ignore: !required().includes(name) }, () => {
    throw new Error(`${opened.reason}. ${opened.remedy}`);
  });
  return true;
}
