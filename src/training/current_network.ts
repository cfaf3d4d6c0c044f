import { precisionOn } from "../local/precision.ts";
import type { Setup } from "../local/setup.ts";
import { network } from "../models/model.ts";
import type { Layer } from "../nn/layer.ts";
import { select } from "../nn/named.ts";
import { type NetworkVariables, Predictor } from "../predict/predictor.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import type { Division } from "./processes/division.ts";
import { GatheredNetwork } from "./processes/gathered_network.ts";
import type { Position } from "./trainable.ts";

/** The network that a trainer trains, as it is now, to evaluate and predict with: without auxiliary networks and slots. */
export class CurrentNetwork implements Disposable {
  readonly #device: Device;
  readonly #setup: Setup;
  readonly #net: Layer;
  readonly #own: () => NetworkVariables<DeviceArray>;
  /** In a pipeline, the network of all processes. */
  readonly #gathered: GatheredNetwork | undefined;
  #predictor: Predictor | undefined;

  /** `own` gives the values of this process at each time: in a pipeline those of its modules. */
  constructor(
    device: Device,
    setup: Setup,
    pipeline: Division | undefined,
    own: () => NetworkVariables<DeviceArray>,
  ) {
    this.#device = device;
    this.#setup = setup;
    this.#net = network(setup.model);
    this.#own = own;
    this.#gathered = pipeline && new GatheredNetwork(setup, pipeline, device);
  }

  /** Its parameters and running statistics; in a pipeline as they were last gathered. */
  get variables(): NetworkVariables<DeviceArray> {
    if (this.#gathered !== undefined) return this.#gathered.variables;
    const { params, state } = this.#own();
    return { params: select(params, this.#net.params), state: select(state, this.#net.state) };
  }

  /** In a pipeline: gathers the modules of all processes, which all call it. */
  async gather(): Promise<void> {
    await this.#gathered?.gather(this.#own());
  }

  /** Its predictor for batches of so many images, which knows their classes and preprocessing. */
  predictor(batch: number, { signature, classNames }: Position): Predictor {
    const before = this.#predictor;
    if (before?.signature !== signature || before?.classNames !== classNames) this.#freePredictor();
    return this.#predictor ??= new Predictor({
      device: this.#device,
      model: this.#setup.model,
      precision: this.#setup.precision ?? precisionOn(this.#device.backend.target),
      variables: () => this.variables,
      signature,
      classNames,
      batch,
    });
  }

  /** Frees what was gathered, and the predictor. */
  [Symbol.dispose](): void {
    this.#gathered?.[Symbol.dispose]();
    this.#freePredictor();
  }

  #freePredictor(): void {
    void this.#predictor?.[Symbol.asyncDispose](); // at once: only a decoder would take time
    this.#predictor = undefined;
  }
}
