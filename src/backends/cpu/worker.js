// One thread of the CPU backend. It sleeps on the gate word; while the gate is open it runs the current command together
// with the main thread. It does not return to its event loop before the exit command, so all its input comes through the
// shared memory. Word numbers and commands are those of threads.ts.
import { workerData } from "node:worker_threads";

const { memory, thread, words, commands, spinMilliseconds } = workerData;
const control = new Int32Array(memory.buffer, 0, 256);
const instances = new Map();

function load(id, address, bytes) {
  const code = new Uint8Array(memory.buffer).slice(address, address + bytes);
  instances.set(id, new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } }).exports.work);
}

function execute(command, id) {
  if (command === commands.run) {
    const scratch = control[words.scratch] + thread * control[words.scratchBytes];
    instances.get(id)(control[words.steps], control[words.stepCount], scratch);
  } else if (command === commands.load) load(id, control[words.code] >>> 0, control[words.codeBytes]);
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
    } catch {
      Atomics.store(control, words.failed, 1);
    }
    Atomics.add(control, words.acknowledged, 1);
  }
  seen = gate;
  Atomics.sub(control, words.inside, 1);
  Atomics.notify(control, words.inside);
}
