import { expectObject, type Kinds } from "../expect.ts";
import type { Method } from "./method.ts";
import type { Setup, SetupOptions } from "./step.ts";

/** Refuses what is no method; `who` begins the message. */
export function expectMethod(who: string, method: Method): void {
  expectObject(`${who}: the method`, method, {
    name: "string",
    options: "object",
    auxiliary: "function?",
    recut: "function?",
  });
}

/** Refuses what `setup` did not make; `who` begins the message. */
export function expectSetup(who: string, setup: Setup): void {
  expectObject(`${who}: the setup`, setup, {
    model: "object",
    method: "object",
    optimizer: "object",
    precision: "string?",
    partition: "object",
    modules: "array",
    initial: "object",
  });
}

/** What the options of `setup` are. */
export const SETUP_KINDS = {
  model: "object",
  modules: "any?",
  method: "object",
  optimizer: "object",
  precision: "string?",
} as const satisfies Kinds<SetupOptions>;
