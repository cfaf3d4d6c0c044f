/** A batch that is divided among the processes of a group, over all of which batch norm takes its statistics. */
export interface SharedBatch {
  /** The name of the group. */
  readonly group: string;
  /** The number of this process in the group. */
  readonly index: number;
  /** The number of processes. */
  readonly processes: number;
  /** The images of this process. */
  readonly own: number;
  /** The images of all processes. */
  readonly images: number;
}

let current: SharedBatch | undefined;

/** The batch that is shared while a function is traced, if one is. */
export function sharedBatch(): SharedBatch | undefined {
  return current;
}

/** Traces `body` on this process's share of a batch: batch norms in it take their statistics over the whole batch. */
export function withSharedBatch<T>(shared: SharedBatch | undefined, body: () => T): T {
  const outer = current;
  current = shared;
  try {
    return body();
  } finally {
    current = outer;
  }
}
