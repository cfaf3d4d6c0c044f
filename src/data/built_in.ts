import { entry as cifar10 } from "./cifar10.ts";
import { entry as shapes } from "./shapes.ts";
import { entry as stl10 } from "./stl10.ts";
import { entry as svhn } from "./svhn.ts";

/** The data sets that need no package, by name. */
export const BUILT_IN = { shapes, cifar10, svhn, stl10 };
