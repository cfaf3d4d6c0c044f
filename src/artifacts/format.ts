/** Formats bytes in binary units: `1.25 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${units[unit]}`;
}

/** Formats a fraction as a percentage with at most `digits` decimals: `12.3 %`. */
export function formatPercent(fraction: number, digits = 2): string {
  return `${Number((fraction * 100).toFixed(digits))} %`;
}

/** Formats an error of classification with two decimals, so that errors line up: `7.20 %`. */
export function formatError(fraction: number): string {
  return `${(100 * fraction).toFixed(2)} %`;
}

/** Formats fractions in percent, without the sign: the mean, ± the sample standard deviation if there are several. */
export function formatMean(fractions: readonly number[]): string {
  const mean = fractions.reduce((a, b) => a + b) / fractions.length;
  const percent = (fraction: number) => (fraction * 100).toFixed(2);
  if (fractions.length === 1) return percent(mean);
  const variance = fractions.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (fractions.length - 1);
  return `${percent(mean)} ± ${percent(Math.sqrt(variance))}`;
}

/** Formats a duration: `9.4 s`, `3 min 05 s`, `2 h 07 min`. */
export function formatTime(seconds: number): string {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** The images that the errors of runs are of; undefined if not all are of the same. */
export function evaluatedAlike(
  kinds: readonly ("test" | "validation")[],
): "test" | "validation" | undefined {
  return kinds.every((kind) => kind === kinds[0]) ? kinds[0] : undefined;
}

/** A heading for errors or losses of those images: `test error`, or `error` if they differ. */
export function headingOf(kind: "test" | "validation" | undefined, what: string): string {
  return kind === undefined ? what : `${kind} ${what}`;
}

/** The images that the errors of a run are of. */
export function evaluatedOn(
  { validationImages }: { readonly validationImages?: number },
): "test" | "validation" {
  return validationImages === undefined ? "test" : "validation";
}

/** The error of a run for people: what it is called, and how a value is written. */
export interface ErrorFormat {
  /** `error`, or `mean squared error` of a regression. */
  readonly name: string;
  /** A fraction as a percentage with two decimals, or the value of a regression with four digits. */
  readonly format: (value: number) => string;
  /** The same for an axis: as short as can be. */
  readonly tick: (value: number) => string;
}

/** The error of a run, by its configuration. */
export function errorOf(configuration: { readonly [name: string]: unknown }): ErrorFormat {
  return isRegression(configuration)
    ? { name: "mean squared error", format: formatValue, tick: formatValue }
    : { name: "error", format: formatError, tick: (value) => formatPercent(value) };
}

/** True if a run trains a regression. */
export function isRegression(configuration: { readonly [name: string]: unknown }): boolean {
  return configuration["task"] === "regression";
}

/** Formats a value with four digits. */
export function formatValue(value: number): string {
  return String(Number(value.toPrecision(4)));
}
