import type { Communicator, Pending } from "../src/backends/communicator.ts";
import { type DType, hostArrays } from "../src/trace/dtype.ts";

/** A call of one process that all processes of the group make. */
interface Call {
  readonly what: string;
  readonly data: Uint8Array;
  readonly combine: (all: readonly Uint8Array[]) => Uint8Array;
}

/** A message that was sent and has not been received. */
interface Message {
  readonly data: Uint8Array;
  received: boolean;
}

/**
 * A group of processes in one: the communicator of each, for devices that wait without blocking. A call that does not
 * match those of the others throws, and so does a blocking wait for something that is not there.
 */
export function connected(size: number): readonly Communicator[] {
  const rounds: (Call | undefined)[][] = [];
  const finished = new Set<number>();
  const messages = new Map<string, Message[]>();
  return Array.from({ length: size }, (_, rank): Communicator => {
    let made = 0;
    const collective = (call: Call): Pending => {
      const round = made++;
      const calls = rounds[round] ??= new Array<Call | undefined>(size).fill(undefined);
      calls[rank] = call;
      const other = calls.find((each) => each !== undefined && each.what !== call.what);
      if (other !== undefined) throw new Error(`one process calls ${call.what}, another ${other.what}`);
      const all = calls.filter((each) => each !== undefined);
      if (all.length === size) {
        const result = call.combine(all.map(({ data }) => data.slice()));
        for (const { data } of all) data.set(result);
        finished.add(round);
      }
      return pending(() => finished.has(round), call.what);
    };
    const queue = (from: number, to: number, tag: number): Message[] => {
      const key = `${from} ${to} ${tag}`;
      const found = messages.get(key) ?? [];
      messages.set(key, found);
      return found;
    };
    return {
      rank,
      size,
      allReduce: (data, dtype, fn) =>
        collective({
          what: `allReduce ${fn} of ${data.length} bytes of ${dtype}`,
          data,
          combine: (all) => combined(all, dtype, fn),
        }),
      broadcast: (data, root) =>
        collective({
          what: `broadcast of ${data.length} bytes from ${root}`,
          data,
          combine: (all) => all[root]!,
        }),
      send: (data, to, tag) => {
        const message = { data, received: false };
        queue(rank, to, tag).push(message);
        return pending(() => message.received, `send to ${to}`);
      },
      receive: (data, from, tag) => {
        let done = false;
        const take = () => {
          const message = done ? undefined : queue(from, rank, tag).shift();
          if (message === undefined) return done;
          if (message.data.length !== data.length) throw new Error("a message of another length");
          data.set(message.data);
          return message.received = done = true;
        };
        return pending(take, `receive from ${from}`);
      },
    };
  });
}

function combined(all: readonly Uint8Array[], dtype: DType, fn: "sum" | "max" | "min"): Uint8Array {
  const elements = all.map((bytes) => Array.from(new hostArrays[dtype](bytes.slice().buffer), Number));
  const join = { sum: (a: number, b: number) => a + b, max: Math.max, min: Math.min }[fn];
  const result = new hostArrays[dtype](elements[0]!.length);
  result.set(elements[0]!.map((_, i) => elements.map((each) => each[i]!).reduce((a, b) => join(a, b))));
  return new Uint8Array(result.buffer as ArrayBuffer);
}

function pending(done: () => boolean, what: string): Pending {
  return {
    done,
    wait() {
      if (!done()) throw new Error(`a blocking wait for ${what}, which no other process has made`);
    },
    async settled() {
      while (!done()) await new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}
