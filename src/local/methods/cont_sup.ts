import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, shown } from "../../base/expect.ts";
import { classifiesTokens } from "../../models/model.ts";
import { withEncoders } from "../../models/encoders.ts";
import { expectInner, type Method } from "../method.ts";

/**
 * The context of each module but the first: `E`, the image; `R1`, the input of the module before it, its context
 * included; `R2`, also that of the one before, and so on; `R1E`, both.
 */
export type ContextName = "E" | `R${number}` | `R${number}E`;

/** Options of {@link contSup}. */
export interface ContSupOptions {
  /** The context; default `E`. */
  context?: ContextName;
}

/**
 * Context supply (ContSup; Yu et al., arXiv 2312.07636) around a method with a local loss, such as `dgl()` or `infopro()`.
 * What a module loses, no later one can use; so each gets, beside the features of the module before, encodings of the
 * image (`E`) or of the inputs of modules before it (`R1`, `R2`, …), added to these features. Small encoders make them,
 * which the module's own loss trains; no gradient crosses a boundary. They are part of the network, also when it
 * predicts: their parameters are under `context.<block>`, and `trainer.setup.model` is the network with them.
 *
 * @throws {LocalgradError} if the method has no local loss, or there is no such context.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.contSup(local.dgl(), { context: "R1E" });
 * const { model } = local.setup({ model: models.resnet8(), modules: 3, method, optimizer: optim.sgd() });
 * const contexts = model.contexts!.map(({ before, encoders }) => [before, ...Object.keys(encoders)]);
 * assertEquals(contexts, [["layer2.0", "image"], ["layer3.0", "image", "r1"]]); // before it, R1 is the image
 * ```
 */
export function contSup(method: Method, options: ContSupOptions = {}): Method {
  expectInner("contSup", method);
  expectOptions("contSup", options, { context: "string?" });
  const { context = "E" } = options;
  if (method.supplied !== undefined) {
    throw new LocalgradError(`contSup: ${method.name} has a context already; wrap it only once`);
  }
  const [, steps, image] = /^(?:R([1-9]\d*))?(E)?$/.exec(context) ?? [];
  if (steps === undefined && image === undefined) {
    throw new LocalgradError(
      `contSup: there is no context ${shown(context)}; choose "E", "R1", "R2", …, "R1E", "R2E", …`,
    );
  }
  const most = Number(steps ?? 0);
  return {
    ...method,
    name: `contSup+${method.name}`,
    options: { context, inner: { name: method.name, ...method.options } },
    supplied(model, { modules }) {
      if (model.contexts !== undefined) {
        throw new LocalgradError(`contSup: ${model.name} has contexts already; leave one of them out`);
      }
      if (classifiesTokens(model)) {
        throw new LocalgradError(
          `contSup: its encoders have batch norm, which would show each token those after it, and ${model.name} classifies ` +
            `tokens; leave contSup out`,
        );
      }
      const before = modules.slice(1).flatMap(({ blocks }) => blocks.slice(0, 1));
      const sources = before.map(({ name }, index): [string, string[]] => {
        // The input of the first module is the image, which is supplied once.
        const back = Math.min(most, image === undefined ? index + 1 : index);
        const earlier = Array.from({ length: back }, (_, i) => `r${i + 1}`);
        return [name, image === undefined ? earlier : ["image", ...earlier]];
      });
      return withEncoders(model, new Map(sources));
    },
  };
}
