import { linear } from "../nn/linear.ts";
import { globalAveragePooling } from "../nn/pooling.ts";
import type { Model } from "./model.ts";
import { described, type ModelOptions } from "./options.ts";
import { type Architecture, basic, bottleneck, residualStages } from "./residual_stages.ts";

/**
 * The ResNet for large images: {@link residualStages}, global average pooling and a linear layer. Shortcuts that change the
 * shape are 1×1 convolutions with batch norm. Parameters have torchvision's names and starting values. By default images
 * are 224×224 and there are 1000 classes.
 */
function resnet(
  { name, ...architecture }: Architecture & { readonly name: string },
  options: ModelOptions,
): Model {
  const { input, classes } = described(name, options, { classes: 1000, size: 224 });
  const { stem, blocks, channels } = residualStages(architecture);
  return {
    name,
    input,
    classes,
    stem,
    blocks,
    head: { avgpool: globalAveragePooling(), fc: linear({ in: channels, out: classes }) },
  };
}

/** ResNet-18 for large images: 8 basic blocks, 11,689,512 parameters with 1000 classes. */
export function resnet18(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet18", stages: [2, 2, 2, 2], ...basic }, options);
}
/** ResNet-34 for large images: 16 basic blocks, 21,797,672 parameters with 1000 classes. */
export function resnet34(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet34", stages: [3, 4, 6, 3], ...basic }, options);
}
/** ResNet-50 for large images: 16 bottleneck blocks, 25,557,032 parameters with 1000 classes. */
export function resnet50(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet50", stages: [3, 4, 6, 3], ...bottleneck() }, options);
}
/** ResNet-101 for large images: 33 bottleneck blocks, 44,549,160 parameters with 1000 classes. */
export function resnet101(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet101", stages: [3, 4, 23, 3], ...bottleneck() }, options);
}
/** ResNet-152 for large images: 50 bottleneck blocks, 60,192,808 parameters with 1000 classes. */
export function resnet152(options: ModelOptions = {}): Model {
  return resnet({ name: "resnet152", stages: [3, 8, 36, 3], ...bottleneck() }, options);
}
/**
 * ResNeXt-50 32×4d (Xie et al., 2017, arXiv 1611.05431): ResNet-50 whose 3×3 convolutions have 32 groups of at least 4
 * channels; 25,028,904 parameters with 1000 classes.
 */
export function resnext50_32x4d(options: ModelOptions = {}): Model {
  return resnet({ name: "resnext50_32x4d", stages: [3, 4, 6, 3], ...bottleneck(32, 4) }, options);
}
/**
 * ResNeXt-101 32×8d (Xie et al., 2017, arXiv 1611.05431): ResNet-101 whose 3×3 convolutions have 32 groups of at least
 * 8 channels; 88,791,336 parameters with 1000 classes.
 */
export function resnext101_32x8d(options: ModelOptions = {}): Model {
  return resnet({ name: "resnext101_32x8d", stages: [3, 4, 23, 3], ...bottleneck(32, 8) }, options);
}
