import { namedLeaves } from "../../artifacts/network_values.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Division } from "./division.ts";
import type { Setup } from "../../local/setup.ts";
import { network } from "../../models/model.ts";
import type { Initial } from "../../nn/initial.ts";
import { merge, type Named } from "../../nn/named.ts";
import type { NetworkVariables } from "../../predict/predictor.ts";
import { type Device, type DeviceArray, disposeTree } from "../../runtime/arrays.ts";
import { hostArrays, sizeOf } from "../../trace/dtype.ts";
import { HostArray } from "../../trace/host_array.ts";
import { treeMap } from "../../trace/tree.ts";
import { shareNetwork } from "./gathering.ts";

/**
 * The whole network on each process of a pipeline, to evaluate and predict with: parameters and running statistics without
 * auxiliary networks and slots. It takes its memory from the first evaluation on.
 */
export class GatheredNetwork implements Disposable {
  readonly #setup: Setup;
  readonly #division: Division;
  readonly #device: Device;
  #arrays: NetworkVariables<DeviceArray> | undefined;

  /** Takes no memory yet. */
  constructor(setup: Setup, division: Division, device: Device) {
    this.#setup = setup;
    this.#division = division;
    this.#device = device;
  }

  /** The network as it was last gathered. */
  get variables(): NetworkVariables<DeviceArray> {
    if (this.#arrays !== undefined) return this.#arrays;
    throw new LocalgradError(
      "network: in a pipeline a process has its own modules only; `evaluate` and `fit`, which all processes call, " +
        "gather the others",
    );
  }

  /** Gathers the modules of all processes, of which `own` are this one's. All processes call it. */
  async gather({ params, state }: NetworkVariables<DeviceArray>): Promise<void> {
    const own = namedLeaves<DeviceArray>(merge(params, state));
    const read = await Promise.all(own.map(async ([name, array]) => [name, await array.toHost()] as const));
    const all = shareNetwork(this.#setup, this.#division, new Map(read));
    const arrays = this.#arrays ??= this.#allocate();
    for (const [name, array] of namedLeaves<DeviceArray>(merge(arrays.params, arrays.state))) {
      const value = all.get(name);
      if (value !== undefined) array.write(value);
    }
  }

  #allocate(): NetworkVariables<DeviceArray> {
    const net = network(this.#setup.model);
    const empty = (tree: Named<Initial>) =>
      this.#device.put(
        treeMap(
          ({ shape, dtype }: Initial) => new HostArray(new hostArrays[dtype](sizeOf(shape)), shape, dtype),
          tree,
        ) as Named<HostArray>,
      );
    return { params: empty(net.params), state: empty(net.state) };
  }

  /** Frees its arrays. */
  [Symbol.dispose](): void {
    if (this.#arrays === undefined) return;
    disposeTree(this.#arrays.params);
    disposeTree(this.#arrays.state);
    this.#arrays = undefined;
  }
}
