/**
 * The index of networks: each function that these files export makes one, known by its name here and on the command
 * line.
 *
 * @module
 */

export * from "./resnet.ts";
export * from "./imagenet_resnet.ts";
export * from "./vgg.ts";
export * from "./mobilenet.ts";
export * from "./densenet.ts";
export * from "./convnext.ts";
export * from "./vit.ts";
export * from "./deeplab.ts";
