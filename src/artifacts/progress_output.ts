/** Output of `progress`; by default the process's standard error. */
export interface ProgressOutput {
  /** True if lines can be redrawn in place. */
  readonly terminal: boolean;
  /** Width of the terminal in columns. */
  columns(): number;
  /** Writes text. */
  write(text: string): void;
  /** A monotonic clock in milliseconds. */
  now(): number;
}
