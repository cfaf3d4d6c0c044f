import type { SgdOptions } from "./sgd.ts";

/** The SGD options of the published runs of InfoPro, MAN and MAN++, which the command line trains with. */
export const publishedSgd: SgdOptions = { momentum: 0.9, nesterov: true, weightDecay: 1e-4 };
