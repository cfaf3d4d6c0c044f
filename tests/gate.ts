import type { Opened } from "../src/backends/backend.ts";

/**
 * Tests whether a device is required: `LOCALGRAD_REQUIRE=webgpu,cuda` turns a skip into a failure, and `onednn` demands the
 * device `cpu-onednn` too.
 */
function isRequired(name: string): boolean {
  const required = (Deno.env.get("LOCALGRAD_REQUIRE") ?? "").split(",").map((each) => each.trim()).filter(
    Boolean,
  );
  return required.some((each) => each === name || `cpu-${each}` === name);
}

/**
 * Tests whether the tests that need a device must be skipped. A skip is never silent: the reason is printed once, the
 * tests stay registered as ignored, so that the runner lists and counts them, and one more test fails if the device is
 * required.
 */
export async function skips(name: string, open: () => Opened | Promise<Opened>): Promise<boolean> {
  const opened = await open();
  if ("backend" in opened) {
    await opened.backend.close();
    return false;
  }
  skip(name, opened);
  return true;
}

/** Says that the tests that need something missing are skipped, as {@link skips} does. */
export function skip(name: string, missing: { readonly reason: string; readonly remedy: string }): void {
  const text = `${missing.reason}. ${missing.remedy}`;
  console.error(`SKIPPED: tests of ${name}: ${text}`);
  Deno.test(
    `${name} is available, as LOCALGRAD_REQUIRE demands`,
    { ignore: !isRequired(name) },
    () => {
      throw new Error(text);
    },
  );
}
