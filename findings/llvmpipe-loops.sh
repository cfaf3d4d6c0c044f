#!/usr/bin/env bash
# On Mesa's llvmpipe all loops of a compute shader share a budget of 65,535 iterations, after which they silently end.
# Needs Debian 12, npm and Node; about 100 MB are downloaded. Exits with 0 while the behaviour is as described.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export NO_COLOR=1 XDG_RUNTIME_DIR=$work DENO_DIR=$work/cache

npm install --silent --no-audit --no-fund --cache "$work/npm" deno@2.9.6

# Mesa and its dependencies, from Debian 12, unpacked in the temporary folder and not installed.
mesa=22.3.6-1+deb12u2
mkdir -p lists/partial cache/archives/partial root
apt=(apt-get -qq -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=$(id -un)")
"${apt[@]}" update
"${apt[@]}" download mesa-vulkan-drivers=$mesa libllvm15=1:15.0.6-4+b1 libvulkan1=1.3.239.0-1 \
  libbsd0 libdrm2 libedit2 libexpat1 libffi8 libicu72 liblzma5 libmd0 libtinfo6 libwayland-client0 libx11-xcb1 \
  libxau6 libxcb-dri3-0 libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb1 libxdmcp6 \
  libxml2 libxshmfence1 libz3-4 libzstd1
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$(dirname "$(find root -name libvulkan_lvp.so)")
sed "s|/usr/lib/[^\"]*/|$work/$libraries/|" root/usr/share/vulkan/icd.d/lvp_icd.*.json > driver.json
export VK_ICD_FILENAMES=$work/driver.json VK_DRIVER_FILES=$work/driver.json
export LD_LIBRARY_PATH=$work/$libraries:$work/${libraries#root/usr/}:$work/root/lib/${libraries##*/}

cat > loops.mjs <<'JS'
const adapter = await navigator.gpu.requestAdapter();
console.log(`Deno ${Deno.version.deno}, ${adapter.info.description}`);
const device = await adapter.requestDevice();
let messages = 0;
device.addEventListener("uncapturederror", () => messages++);

/** Runs `body` in one workgroup of `threads` invocations; returns `y`, where `x[0]` is `rounds` and `x[1]` is 3. */
async function run(body, rounds, threads = 1) {
  const module = device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read> x: array<u32>;
      @group(0) @binding(1) var<storage, read_write> y: array<u32>;
      @compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_index) me: u32) { ${body} }`,
  });
  messages += (await module.getCompilationInfo()).messages.length;
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const [x, y, result] = [
    GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
    GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  ].map((usage) => device.createBuffer({ size: 16, usage }));
  device.queue.writeBuffer(x, 0, new Uint32Array([rounds, 3]));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [{ binding: 0, resource: { buffer: x } }, { binding: 1, resource: { buffer: y } }];
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(y, 0, result, 0, 16);
  device.queue.submit([encoder.finish()]);
  await result.mapAsync(GPUMapMode.READ);
  return [...new Uint32Array(result.getMappedRange())];
}

const count = (target, end = "x[0]") => `for (var i = 0u; i < ${end}; i++) { y[${target}] += 1u; }`;
const cases = [
  { name: "one loop of 65,000", got: await run(count(0), 65_000), expected: [65_000, 0], seen: [65_000, 0] },
  { name: "one loop of 70,000", got: await run(count(0), 70_000), expected: [70_000, 0], seen: [65_535, 0] },
  {
    name: "two loops of 40,000, one after the other",
    got: await run(count(0) + count(1), 40_000),
    expected: [40_000, 40_000],
    seen: [40_000, 25_534],
  },
  {
    name: "a loop of 70,000, then one of 3",
    got: await run(count(0) + count(1, "x[1]"), 70_000),
    expected: [70_000, 3],
    seen: [65_535, 1],
  },
  {
    name: "two invocations, each with a loop of 40,000 of its own",
    got: await run(`if (me == 0u) { ${count(0)} } else { ${count(1)} }`, 40_000, 2),
    expected: [40_000, 40_000],
    seen: [40_000, 25_534],
  },
];
let same = messages === 0;
for (const { name, got, expected, seen } of cases) {
  const pair = got.slice(0, 2);
  console.log(`${name}: expected ${expected.join(" and ")}, got ${pair.join(" and ")}`);
  same &&= String(pair) === String(seen);
}
console.log(`errors and messages: ${messages}`);
console.log(same ? "as described" : "CHANGED");
Deno.exit(same ? 0 : 1);
JS
echo "mesa-vulkan-drivers $mesa"
node_modules/.bin/deno run --quiet --no-config loops.mjs
