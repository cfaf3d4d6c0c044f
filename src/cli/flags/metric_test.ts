import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { settingsFrom } from "../settings.ts";
import { metricsOf } from "./metric.ts";
import { storedSettings } from "../stored_settings.ts";

Deno.test("flags name metrics and the validation split, which are stored and resumed", () => {
  const settings = settingsFrom({ metrics: "topFive, perClass", validation: "0.1" });
  const stored = storedSettings(JSON.parse(JSON.stringify(settings)), "run");
  const resumed = settingsFrom({}, stored);
  assertEquals([resumed.metrics, resumed.validation], [["topFive", "perClass"], 0.1]);
  assertEquals(metricsOf(resumed, 10), ["topFive", "perClass"]);
  assertEquals(metricsOf(settingsFrom({ metrics: "none" }), 10), []);
  assertEquals([20, 21].map((classes) => metricsOf(settingsFrom({}), classes)), [["confusion"], []]);
});

Deno.test("metrics and splits that cannot be are refused", () => {
  const refused = (given: Parameters<typeof settingsFrom>[0], message: string) =>
    assertThrows(() => settingsFrom(given), LocalgradError, message);
  refused({ metrics: "accuracy" }, "--metrics must be one of topFive, perClass, confusion");
  refused({ validation: "1" }, "--validation must be above 0 and below 1");
});
