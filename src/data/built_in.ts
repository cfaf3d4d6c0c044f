import { entry as cifar10 } from "./cifar10.ts";
import { coarseEntry as cifar100Coarse, entry as cifar100 } from "./cifar100.ts";
import { entry as mnist, fashionEntry as fashionMnist } from "./mnist.ts";
import { entry as shapes } from "./shapes.ts";
import { entry as stl10 } from "./stl10.ts";
import { entry as svhn } from "./svhn.ts";

/** The data sets that need no package, by name. */
export const BUILT_IN = {
  shapes,
  cifar10,
  cifar100,
  "cifar100-coarse": cifar100Coarse,
  svhn,
  stl10,
  mnist,
  "fashion-mnist": fashionMnist,
};
