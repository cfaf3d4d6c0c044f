import type { OpName } from "./ops.ts";
import { collectiveShapes } from "./shapes/collectives.ts";
import { contractionShapes } from "./shapes/contraction.ts";
import { creationShapes } from "./shapes/creation.ts";
import { elementwiseShapes } from "./shapes/elementwise.ts";
import { imageShapes } from "./shapes/images.ts";
import { indexingShapes } from "./shapes/indexing.ts";
import { movementShapes } from "./shapes/movement.ts";
import type { ShapeRules } from "./shapes/rule.ts";

/**
 * The shape rule of every op. Adding an op starts with an entry in {@link OpAttrs}; the type checker then names each
 * table (shapes, gradients, reference, backends) that lacks it.
 */
export const shapeRules: ShapeRules<OpName> = {
  ...elementwiseShapes,
  ...creationShapes,
  ...movementShapes,
  ...indexingShapes,
  ...contractionShapes,
  ...imageShapes,
  ...collectiveShapes,
};
