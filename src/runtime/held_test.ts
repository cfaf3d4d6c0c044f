/** Results that go from call to call unseen: values, ownership, and what a caller may do to their trees. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treeMap } from "../trace/tree.ts";
import { type DeviceArray, disposeTree } from "./arrays.ts";
import { open } from "./devices.ts";
import { heldBy } from "./held.ts";
import { jit } from "./jit.ts";

const COUNT = 20;

type State<T> = { readonly params: { readonly [name: string]: T }; readonly slots: readonly T[] };

/** A step that adds `by` to every array of a state of 2 × COUNT arrays, and the number of times it was traced. */
async function stepping(checkNumerics = false) {
  const device = await open("reference");
  const traced: number[] = [];
  const step = jit((state: State<Tensor>, by: Tensor) => {
    traced.push(1);
    return { state: treeMap((leaf: Tensor) => leaf.add(by), state), by: by.mul(2) };
  }, { device, donate: [0], name: "step", checkNumerics });
  const zeros = () => Array.from({ length: COUNT }, () => device.zeros([2]));
  const state: State<DeviceArray> = {
    params: Object.fromEntries(zeros().map((array, i) => [`p${i}`, array])),
    slots: zeros(),
  };
  return { device, step, state, traced };
}

const values = async (state: State<DeviceArray>) =>
  await Promise.all(
    [...Object.values(state.params), ...state.slots].map(async (array) => (await array.read("f32"))[0]),
  );
const all = (value: number) => Array.from({ length: 2 * COUNT }, () => value);

Deno.test("a state goes through steps unseen, traced once, and is a tree when something looks", async () => {
  const { device, step, state, traced } = await stepping();
  let current = state;
  for (let i = 0; i < 5; i++) {
    const result = step(current, 1);
    current = result.state;
    assert(heldBy(current) !== undefined); // no array was made of it
    result.by.dispose();
    assertEquals(device.liveArrays, 2 * COUNT);
  }
  assertEquals(Object.keys(current), ["params", "slots"]);
  assertEquals(await values(current), all(5));
  assertEquals(device.liveArrays, 2 * COUNT);
  const { state: last, by } = step(current, 1); // now an ordinary tree
  assertEquals(traced.length, 1);
  assertStringIncludes(Deno.inspect(last), "p19: DeviceArray f32[2] on reference");
  by.dispose();
  disposeTree(last as never);
  assertEquals(device.liveArrays, 0);
  await device.close();
});

Deno.test("what a caller changes in a tree of results counts", async () => {
  const { device, step, state } = await stepping();
  type Loose = { params: Record<string, DeviceArray>; slots: DeviceArray[] };
  const next = (state: State<DeviceArray>) => step(state, 1).state as Loose;
  const looked = next(state);
  looked.params["p3"].dispose();
  looked.params["p3"] = device.array([10, 10]);
  const replaced = next(looked);
  assertEquals((await values(replaced))[3], 11);
  const whole = next(replaced);
  const { params } = whole;
  whole.params = { ...params, p4: device.array([20, 20]) }; // through an accessor, had nobody looked
  const rest = await values(next(whole));
  assertEquals([rest[3], rest[4], rest[5]], [13, 21, 4]);
  await device.close();
  const other = await stepping();
  const unseen = other.step(other.state, 1).state as Loose & { more?: DeviceArray };
  unseen.more = other.device.zeros([1]);
  const { state: wider } = other.step(unseen, 1);
  assertEquals(Object.keys(wider), ["params", "slots", "more"]);
  assertEquals(other.traced.length, 2);
  const taken = other.step(other.step(without(wider), 1).state, 1).state;
  assertEquals(Object.keys(taken), ["params", "slots"]);
  await other.device.close();

  function without(tree: State<DeviceArray>): State<DeviceArray> {
    const { params, slots } = tree;
    return { params, slots };
  }
});

Deno.test("a tree that was donated unseen contains arrays that are gone", async () => {
  const { device, step, state } = await stepping();
  const first = step(state, 1).state;
  const second = step(first, 1).state;
  assertThrows(() => step(first, 1), LocalgradError, "f32[2] was donated to a traced function");
  await assertRejects(() => first.slots[0].read(), LocalgradError, "was donated to a traced function");
  assertThrows(
    () =>
      jit((a: State<Tensor>, b: State<Tensor>) => a.slots[0].add(b.slots[0]), {
        device,
        donate: [0],
      })(second, second),
    LocalgradError,
    "are one array, which is donated",
  );
  assertEquals(await values(second), all(2));
  await device.close();
  assertEquals(device.liveArrays, 0);
});

Deno.test("closing a device frees a tree that nobody has looked into", async () => {
  const { device, step, state } = await stepping();
  const { state: unseen } = step(state, 1);
  await device.close();
  assertEquals([device.liveArrays, device.backend.liveBuffers], [0, 0]);
  await assertRejects(
    () => unseen.params["p0"].read(),
    LocalgradError,
    "was freed when its device was closed",
  );
});

Deno.test("arrays of a tree that nobody has looked into have the check of numerics", async () => {
  const { device, step, state } = await stepping(true);
  const { state: bad } = step(step(state, 1).state, Infinity);
  await assertRejects(() => bad.slots[3].read(), LocalgradError, "not finite");
  await device.close();
});

Deno.test("donated arrays that no result takes are freed, seen or not", async () => {
  const { device, step, state } = await stepping();
  const sum = jit((state: State<Tensor>) => state.slots[0].add(1).sum(), { device, donate: [0] });
  const { state: unseen, by } = step(state, 1);
  by.dispose();
  using total = sum(unseen);
  assertEquals([...await total.read()], [4]);
  assertEquals(device.liveArrays, 1);
  assert(device.backend.liveBuffers <= 4);
  await device.close();
});
