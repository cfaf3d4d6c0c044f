/**
 * Several processes that train one network, on one machine or many: MPI's launchers start them, and each runs the same
 * script.
 *
 * @module
 */

export {
  type Communicator,
  type Communicators,
  type Pending,
  type Processes,
} from "./backends/communicator.ts";
export { type Layout, layoutOf, type Parallel, type Place } from "./local/processes/layout.ts";
export * from "./local/processes/join.ts";
