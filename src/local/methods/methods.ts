/**
 * The index of methods: a file for each, a line for each. What a file exports is the function that makes the method; it
 * is known by that name on the command line, and `man` and `manPlusPlus` go in front of it where it judges features.
 *
 * @module
 */

export * from "./end_to_end.ts";
export * from "./greedy.ts";
export * from "./dgl.ts";
export * from "./predsim.ts";
export * from "./infopro.ts";
export * from "./aug_local.ts";
export * from "./man.ts";
export * from "./man_plus_plus.ts";
