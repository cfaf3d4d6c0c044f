/**
 * The index of methods: a file and a line for each. Each file exports the function that makes its method, whose name is
 * also the method's name on the command line; if it has local losses, `man+` and `manPlusPlus+` can precede it.
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
export * from "./cont_sup.ts";
export * from "./sgr.ts";
export * from "./hpff.ts";
export * from "./mlaan.ts";
