import { formatBytes, formatPercent } from "./format.ts";
import type { BlockAge, Choice, HeldMemory, Loading } from "./observer.ts";

/** What was chosen within a memory limit, for people. */
export function choiceFacts(choice: Choice | undefined): [name: string, value: string][] {
  if (choice === undefined) return [];
  const { limit, reserve, description, peakBytes, next } = choice;
  const data = reserve === undefined ? "" : `, ${formatBytes(reserve)} of it for data`;
  return [
    ["memory limit", `${formatBytes(limit)}${data}`],
    ["chosen within it", `${description}, needs ${formatBytes(peakBytes)}`],
    ...(next === undefined ? [] : [
      ["next faster", `${next.description}, needs ${formatBytes(next.peakBytes)}`] satisfies [
        string,
        string,
      ],
    ]),
  ];
}

/** The loading of streamed images, for people. */
export function loadingFacts(loading: Loading | undefined): [name: string, value: string][] {
  if (loading === undefined) return [];
  return [
    ["images/s decoded", String(Math.round(loading.imagesPerSecond))],
    ["waiting for images", formatPercent(loading.waiting, 1)],
  ];
}

/** The age of tracked blocks, for people; none unless the exchange was stale. */
export function stalenessFacts(staleness: BlockAge | undefined): [name: string, value: string][] {
  if (staleness === undefined) return [];
  const { mean, most } = staleness;
  return [["staleness", `${mean.toFixed(1)} steps, at most ${most}`]];
}

/** The measured memory of a device, for people: localgrad's count, and the driver's if there is one. */
export function heldMemory(held: HeldMemory | undefined): [name: string, value: string][] {
  if (held === undefined) return [];
  const { bytes, dataBytes, driver, residentBytes } = held;
  const own: [string, string] = [
    "allocated",
    formatBytes(bytes - dataBytes) + (dataBytes === 0 ? "" : `, plus ${formatBytes(dataBytes)} of data`),
  ];
  const whole: [string, string][] = residentBytes === undefined
    ? []
    : [["whole process", `${formatBytes(residentBytes)} resident`]];
  if (driver === undefined) return [own, ...whole];
  const { usedBytes, takenBytes } = driver;
  const rest = formatBytes(Math.max(0, usedBytes - takenBytes));
  return [
    own,
    ["driver count", `${formatBytes(takenBytes)}, plus ${rest} of context and other programs`],
    ...whole,
  ];
}
