import { LocalgradError } from "../base/errors.ts";
import { expectOptions, shown } from "../base/expect.ts";

/** Options of `gelu`. */
export interface GeluOptions {
  /** `"none"` (default) computes the error function; `"tanh"` approximates it to within 5e-4, as GPT-2 does. */
  approximate?: "none" | "tanh";
}

/** Refuses what are no options of `gelu`. */
export function expectGelu(options: GeluOptions): void {
  expectOptions("gelu", options, { approximate: "string?" });
  const { approximate = "none" } = options;
  if (approximate !== "none" && approximate !== "tanh") {
    throw new LocalgradError(`gelu: approximate must be "none" or "tanh", not ${shown(approximate)}`);
  }
}
