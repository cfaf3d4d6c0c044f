#!/usr/bin/env bash
# jax-js 0.1.25 finds the largest of three numbers with a NaN at index 3, and gives label −1 a one-hot row of ones.
# Needs npm and Node. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export NO_COLOR=1 XDG_RUNTIME_DIR=$work DENO_DIR=$work/cache
npm install --silent --no-audit --no-fund --cache "$work/npm" deno@2.9.6 @jax-js/jax@0.1.25

cat > argmax.mjs <<'JS'
import { defaultDevice, init, nn, numpy as np } from "@jax-js/jax";

await init();
const floats = (...x) => np.array(x, { dtype: np.float32 });
const cases = [
  ["argmax of 1, NaN, 2", () => np.argmax(floats(1, NaN, 2)), "1", "3"],
  ["argmax of NaN, 1", () => np.argmax(floats(NaN, 1)), "0", "2"],
  ["argmin of 1, NaN, 2", () => np.argmin(floats(1, NaN, 2)), "1", "3"],
  ["argmax of 1, 3, 2", () => np.argmax(floats(1, 3, 2)), "1", "1"],
  ["oneHot of -1, 2, 0", () => nn.oneHot(np.array([-1, 2, 0], { dtype: np.int32 }), 2), "[[0,0],[0,0],[1,0]]", "[[1,1],[0,0],[1,0]]"],
];
let same = true;
for (const device of ["cpu", "wasm"]) {
  defaultDevice(device);
  for (const [call, f, expected, described] of cases) {
    const actual = JSON.stringify(f().js());
    console.log(`jax-js 0.1.25, ${device}, ${call}: expected ${expected} as in JAX, got ${actual}`);
    same &&= actual === described;
  }
}
console.log(same ? "as described" : "CHANGED");
Deno.exit(same ? 0 : 1);
JS
node_modules/.bin/deno run --quiet --no-config --no-lock --node-modules-dir=manual --allow-read --allow-env argmax.mjs
