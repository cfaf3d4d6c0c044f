import type { Target } from "../../../compile/plan.ts";
import { LocalgradError } from "../../../base/errors.ts";
import { Lowering } from "../lower.ts";
import { targetOf } from "../target.ts";
import { openOnednnDevice } from "./device.ts";

/**
 * The properties of a CPU device with oneDNN that the compiler plans for, without the device: sizes of formats and
 * scratch memory are the library's to tell, so it is open until the target is disposed of.
 *
 * @returns The target, or the reason why there is none and a remedy.
 */
export function openOnednnTarget(
  threads: number,
): Target & Disposable | { readonly reason: string; readonly remedy: string } {
  const library = openOnednnDevice();
  if ("reason" in library) return library;
  let isOpen = true;
  const lowering = new Lowering((instruction, values) => {
    if (!isOpen) throw new LocalgradError("this target has been disposed of, and its library is closed");
    return library.launches(instruction, values);
  });
  return {
    ...targetOf(lowering, threads, library),
    [Symbol.dispose]() {
      if (isOpen) library.close();
      isOpen = false;
    },
  };
}
