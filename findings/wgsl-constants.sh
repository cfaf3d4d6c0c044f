#!/usr/bin/env bash
# Deno's WebGPU refuses constants that WGSL allows: many built-in functions of literals are accepted in a `let` and
# not in a `const`. Needs npm, Node and a WebGPU adapter (Mesa's llvmpipe will do). Exits with 0 while the
# behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export NO_COLOR=1 XDG_RUNTIME_DIR=$work DENO_DIR=$work/cache
npm install --silent --no-audit --no-fund --cache "$work/npm" deno@2.9.6

cat > constants.mjs <<'JS'
const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) throw new Error("there is no WebGPU adapter: install a Vulkan driver, such as Mesa's llvmpipe");
console.log(`Deno ${Deno.version.deno}, ${adapter.info.description}`);
const device = await adapter.requestDevice();

/** Returns the compiler's message about a declaration, or undefined if it accepts it. */
async function refusal(declaration) {
  device.pushErrorScope("validation");
  device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read_write> y: u32;
      @compute @workgroup_size(1) fn main() { ${declaration} y = u32(x); }`,
  });
  return (await device.popErrorScope())?.message;
}

// Each is marked @const in the WGSL specification, so its value may be a constant.
const cases = [
  "bitcast<u32>(1.0f)",
  "mix(1.0f, 2.0f, 0.5f)",
  "smoothstep(0.0f, 2.0f, 1.0f)",
  "quantizeToF16(1.0f)",
  "ldexp(1.0f, 3)",
  "frexp(1.0f).fract",
  "modf(1.0f).whole",
  "extractBits(77u, 4u, 5u)",
  "insertBits(77u, 1u, 4u, 5u)",
  "unpack2x16float(77u).x",
  "unpack4x8snorm(77u).x",
  "pack2x16float(vec2f(1.0, 2.0))",
  "pack4x8unorm(vec4f(1.0, 0.0, 1.0, 0.0))",
];
// And functions that are evaluated, so that the method is seen to work.
const accepted = ["fma(1.0f, 2.0f, 1.0f)", "reverseBits(77u)", "round(2.5f)"];

let same = true;
for (const [list, refused] of [[cases, true], [accepted, false]]) {
  for (const expression of list) {
    const variable = await refusal(`let x = ${expression};`);
    const constant = await refusal(`const x = ${expression};`);
    const reason = /Not implemented as constant expression[^\n]*/.exec(constant ?? "")?.[0];
    console.log(`${expression}: let: ${variable ?? "accepted"}; const: ${reason ?? constant ?? "accepted"}`);
    same &&= variable === undefined && (refused ? reason !== undefined : constant === undefined);
  }
}
console.log(same ? "as described" : "CHANGED");
Deno.exit(same ? 0 : 1);
JS
node_modules/.bin/deno run --no-config --no-lock constants.mjs
