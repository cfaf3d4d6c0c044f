/**
 * The index of networks: each function that these files export makes one, known by its name here and on the command
 * line.
 *
 * @module
 */

export * from "./resnet.ts";
export * from "./imagenet_resnet.ts";
