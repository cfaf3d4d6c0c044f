import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { setupOf } from "../build.ts";
import type { lossSettingsFrom } from "./loss.ts";
import { settingsFrom } from "../settings.ts";
import { storedSettings } from "../stored_settings.ts";

Deno.test("flags name the loss, which is stored and resumed", () => {
  const settings = settingsFrom({ "label-smoothing": "0.1", "class-weights": "1,1,5,1,1,1,1,1,1,0" });
  const stored = storedSettings(JSON.parse(JSON.stringify(settings)), "run");
  assertEquals(settingsFrom({}, stored).loss, {
    labelSmoothing: 0.1,
    classWeights: [1, 1, 5, 1, 1, 1, 1, 1, 1, 0],
  });
  assertEquals(setupOf(stored).loss?.options, stored.loss);
  assertEquals(setupOf(settingsFrom({ loss: "squared-error" })).loss?.name, "squaredError");
  assertEquals("loss" in settingsFrom({}), false);
});

Deno.test("flags of a loss that cannot be are refused", () => {
  const refused = (given: Parameters<typeof lossSettingsFrom>[0], message: string) =>
    assertThrows(() => setupOf(settingsFrom(given)), LocalgradError, message);
  refused({ loss: "hinge" }, "--loss must be one of cross-entropy, squared-error");
  refused({ "label-smoothing": "1" }, "--label-smoothing must be at least 0 and below 1");
  refused({ "class-weights": "1,,2" }, "--class-weights must be numbers of at least 0");
  refused(
    { loss: "squared-error", "label-smoothing": "0.1" },
    "--label-smoothing is for --loss cross-entropy",
  );
});
