/** A device that computed a run from some step on. The last bits of results differ between devices. */
export interface RunDevice {
  /** What its bits depend on, such as "cpu, oneDNN 3.2.0 (avx512_core_bf16)"; see `Device.arithmetic`. */
  readonly arithmetic: string;
  /** Number of steps done before it took over. */
  readonly firstStep: number;
}

/** The devices of a run that another, or the same, resumes from a step; those that did no step are left out. */
export function resumedOn(before: readonly RunDevice[], { arithmetic, firstStep }: RunDevice): RunDevice[] {
  const kept = before.filter((device) => device.firstStep < firstStep);
  return kept.at(-1)?.arithmetic === arithmetic ? kept : [...kept, { arithmetic, firstStep }];
}

/** A line for people if a run has just been resumed on a device whose bits differ; else undefined. */
export function changeOfDevice(devices: readonly RunDevice[], firstStep: number): string | undefined {
  const [before, now] = devices.slice(-2);
  if (before === undefined || now?.firstStep !== firstStep) return undefined;
  return `resumed on ${now.arithmetic}; before it was ${before.arithmetic}, so the last bits will differ from those of ` +
    "an uninterrupted run";
}

/** The devices of a run in one line: "cpu, WebAssembly; from step 41: cuda, …". */
export function describeDevices(devices: readonly RunDevice[]): string {
  const texts = devices.map(({ arithmetic, firstStep }) =>
    firstStep === 0 ? arithmetic : `from step ${firstStep + 1}: ${arithmetic}`
  );
  return (devices[0]?.firstStep === 0 ? texts : ["unknown", ...texts]).join("; ");
}
