import type { Target } from "../../compile/plan.ts";

/** The reference backend's target: no limits, and no gain from padding. */
export const referenceTarget: Target = {
  name: "reference",
  precisions: ["f32", "bf16"],
  alignment: 4,
  maxValueBytes: Infinity,
  segmentBytes: Infinity,
  maxTotalBytes: Infinity,
  workspace: () => 0,
  maxKernelBuffers: Infinity,
  groups: {},
};
