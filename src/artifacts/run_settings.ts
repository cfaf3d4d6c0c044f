import { abridged } from "../base/decode.ts";
import type { Settings } from "./checkpoint.ts";
import type { RunInfo } from "./observer.ts";
import { describeDevices } from "./run_devices.ts";

/** All settings of a run with their values as text; those of objects by their path, such as `method.name`. */
export function settingsOf(
  { info, settings }: { readonly info: RunInfo; readonly settings: Settings },
): [name: string, value: string][] {
  const rows: [string, string][] = [];
  const add = (name: string, value: unknown) => {
    if (Array.isArray(value)) rows.push([name, abridged(value.join(", "))]);
    else if (typeof value === "object" && value !== null) {
      for (const [key, inner] of Object.entries(value)) add(`${name}.${key}`, inner);
    } else if (value !== undefined) rows.push([name, String(value)]);
  };
  const { devices = [], dataset, learningRate } = info;
  const device = devices.length === 0 ? {} : { device: describeDevices(devices) };
  const all = {
    dataset,
    lr: learningRate,
    ...settings, // the command line's say the same, and how the rate is scheduled
    ...info.configuration,
    ...device,
    epochs: info.epochs,
    stepsPerEpoch: info.stepsPerEpoch,
  };
  for (const [name, value] of Object.entries(all)) add(name, value);
  return rows;
}
