// One thread of the CPU backend. It sleeps on the gate word; while the gate is open it runs the current command together
// with the main thread. It does not return to its event loop before the exit command, so all its input comes through the
// shared memory. Word numbers and commands are those of threads.ts.
import { workerData } from "node:worker_threads";

const { memory, thread, words, controlWords, commands, states, spinMilliseconds, onednn } = workerData;
const control = new Int32Array(memory.buffer, 0, controlWords);
const instances = new Map();
let primitives;
try {
  // openPrimitives is that of onednn/primitives.ts, which threads.ts puts before this.
  if (onednn !== undefined) primitives = openPrimitives(onednn);
} catch (error) {
  fail(error);
}

// The first thread that fails says why; the main thread waits for it.
function fail(error) {
  if (Atomics.compareExchange(control, words.failed, states.sound, states.failing) !== states.sound) return;
  const room = (words.tickets - words.failure) * 4;
  const text = new TextEncoder().encode(String(error?.message ?? error)).subarray(0, room);
  new Uint8Array(memory.buffer).set(text, words.failure * 4);
  control[words.failureBytes] = text.length;
  Atomics.store(control, words.failed, states.failed);
}

const bytesAt = (address, bytes) =>
  new Uint8Array(memory.buffer).slice(address >>> 0, (address >>> 0) + bytes);

function load(id) {
  const code = bytesAt(control[words.code], control[words.codeBytes]);
  const list = bytesAt(control[words.primitives], control[words.primitivesBytes]);
  primitives?.add(new TextDecoder().decode(list));
  const env = { memory, execute: primitives?.execute };
  instances.set(id, new WebAssembly.Instance(new WebAssembly.Module(code), { env }).exports.work);
}

function execute(command, id) {
  if (command === commands.run) {
    const scratch = control[words.scratch] + thread * control[words.scratchBytes];
    instances.get(id)(control[words.steps], control[words.stepCount], scratch, thread);
  } else if (command === commands.load) load(id);
  else if (command === commands.unload) instances.delete(id);
}

function waitForGate(seen) {
  const until = performance.now() + spinMilliseconds;
  for (;;) {
    for (let spin = 0; spin < 200; spin++) {
      const gate = Atomics.load(control, words.gate);
      if (gate !== seen && gate % 2 !== 0) return gate;
    }
    if (performance.now() > until) Atomics.wait(control, words.gate, Atomics.load(control, words.gate) & ~1);
  }
}

Atomics.add(control, words.acknowledged, 1);
Atomics.notify(control, words.acknowledged);
let seen = 0;
let command = 0;
while (command !== commands.exit) {
  const gate = waitForGate(seen);
  Atomics.add(control, words.inside, 1);
  if (Atomics.load(control, words.gate) === gate) {
    command = control[words.command];
    try {
      execute(command, control[words.module]);
    } catch (error) {
      fail(error);
    }
    Atomics.add(control, words.acknowledged, 1);
  }
  seen = gate;
  Atomics.sub(control, words.inside, 1);
  Atomics.notify(control, words.inside);
}
primitives?.close();
