import type { ConvAttrs } from "../../trace/ops.ts";
import type { Shape } from "../../trace/dtype.ts";

/**
 * One axis of a correlation: target indices `start + i · step`, i < `count`, each summed over `taps`. Tap t of index i
 * reads source index `i · sourceStep + sourceStart + t · tapStep` with the filter's index `filterStart + t · filterStep`.
 */
export interface AxisPhase {
  readonly start: number;
  readonly step: number;
  readonly count: number;
  readonly sourceStep: number;
  readonly sourceStart: number;
  readonly taps: number;
  readonly tapStep: number;
  readonly filterStart: number;
  readonly filterStep: number;
}

/** Target pixels that share their taps. */
export interface Phase {
  readonly row: AxisPhase;
  readonly column: AxisPhase;
}

/**
 * The common form of a forward convolution and its input gradient: each target pixel is a sum over taps of a source
 * pixel's channels times a matrix of the filter. A forward convolution has one phase; the input gradient of a
 * convolution of stride S has S² of them, because only every S-th tap meets a given pixel.
 */
export interface Correlation {
  readonly images: number;
  readonly groups: number;
  /** Height, width and channels of the source. */
  readonly source: readonly [number, number, number];
  /** Height, width and channels of the target. */
  readonly target: readonly [number, number, number];
  readonly phases: readonly Phase[];
}

/** `y = conv(image, filter)`. */
export function forwardCorrelation(image: Shape, filter: Shape, y: Shape, attrs: ConvAttrs): Correlation {
  const axis = (a: 0 | 1): AxisPhase => ({
    start: 0,
    step: 1,
    count: y[1 + a],
    sourceStep: attrs.strides[a],
    sourceStart: -attrs.padding[a][0],
    taps: filter[1 + a],
    tapStep: attrs.dilation[a],
    filterStart: 0,
    filterStep: 1,
  });
  return {
    images: image[0],
    groups: attrs.groups,
    source: [image[1], image[2], image[3]],
    target: [y[1], y[2], y[3]],
    phases: [{ row: axis(0), column: axis(1) }],
  };
}

/** `dx = convInputGrad(dy, filter)`. */
export function inputGradCorrelation(dy: Shape, filter: Shape, dx: Shape, attrs: ConvAttrs): Correlation {
  const phasesOf = (a: 0 | 1): AxisPhase[] => {
    const [stride, dilation, before] = [attrs.strides[a], attrs.dilation[a], attrs.padding[a][0]];
    return Array.from({ length: Math.min(stride, dx[1 + a]) }, (_, start) => {
      // dx[start + i·stride] meets dy[o] through tap r where start + i·stride + before = o·stride + r·dilation.
      const taps: number[] = [];
      for (let r = filter[1 + a] - 1; r >= 0; r--) {
        if ((start + before - r * dilation) % stride === 0) taps.push(r);
      }
      const sourceOf = (r: number) => (start + before - r * dilation) / stride;
      return {
        start,
        step: stride,
        count: Math.ceil((dx[1 + a] - start) / stride),
        sourceStep: 1,
        sourceStart: taps.length > 0 ? sourceOf(taps[0]) : 0,
        taps: taps.length,
        tapStep: taps.length > 1 ? sourceOf(taps[1]) - sourceOf(taps[0]) : 1,
        filterStart: taps[0] ?? 0,
        filterStep: taps.length > 1 ? taps[1] - taps[0] : -1,
      };
    });
  };
  const columns = phasesOf(1);
  return {
    images: dx[0],
    groups: attrs.groups,
    source: [dy[1], dy[2], dy[3]],
    target: [dx[1], dx[2], dx[3]],
    phases: phasesOf(0).flatMap((row) => columns.map((column) => ({ row, column }))),
  };
}

/** Words of a cache line. */
const LINE_WORDS = 16;

/** The number of groups of one task: as many as have their source channels in one cache line, at least one. */
export function groupsTogether({ groups, source }: Correlation): number {
  const most = Math.floor(LINE_WORDS * groups / source[2]);
  for (let together = Math.min(groups, most); together > 1; together--) {
    if (groups % together === 0) return together;
  }
  return 1;
}

/** The first and last source index that `counts(phase)` target indices from i read, relative to `i · sourceStep`. */
export function sourceRange(
  phases: readonly AxisPhase[],
  counts: (phase: AxisPhase) => number,
): [number, number] {
  let [first, last] = [Infinity, -Infinity];
  for (const phase of phases) {
    if (phase.taps === 0) continue;
    first = Math.min(first, phase.sourceStart);
    last = Math.max(
      last,
      (counts(phase) - 1) * phase.sourceStep + phase.sourceStart + (phase.taps - 1) * phase.tapStep,
    );
  }
  return first > last ? [0, 0] : [first, last];
}

/** A correlation as text; equal texts mean equal correlations. */
export function correlationText({ images, groups, source, target, phases }: Correlation): string {
  const axis = (phase: AxisPhase) => Object.values(phase).join(" ");
  const steps = phases.map(({ row, column }) => `(${axis(row)}; ${axis(column)})`);
  return `${images} × ${source.join("×")} → ${target.join("×")}, groups ${groups}, phases ${steps.join(" ")}`;
}
