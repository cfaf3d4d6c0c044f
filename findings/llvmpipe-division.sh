#!/usr/bin/env bash
# On Mesa's llvmpipe a number divided by a literal zero is 0; divided by a zero from memory, it is infinity. Needs
# Debian 12, npm and Node; about 100 MB are downloaded. Exits with 0 while the behaviour is as described.
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

cat > division.mjs <<'JS'
const adapter = await navigator.gpu.requestAdapter();
console.log(`Deno ${Deno.version.deno}, ${adapter.info.description}`);
const device = await adapter.requestDevice();
let messages = 0;
device.addEventListener("uncapturederror", () => messages++);

const module = device.createShaderModule({
  code: `@group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(1) fn main() {
      y[0] = x[0] / x[1];
      y[1] = x[0] / 0.0;
      y[2] = x[0] / (x[0] - x[0]);
      y[3] = x[0] / -0.0;
    }`,
});
messages += (await module.getCompilationInfo()).messages.length;
const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
const [x, y, result] = [
  GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
].map((usage) => device.createBuffer({ size: 16, usage }));
device.queue.writeBuffer(x, 0, new Float32Array([5, 0]));
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
const got = [...new Float32Array(result.getMappedRange())];

const names = ["5 / y, y = 0 from memory", "5 / 0.0", "5 / (5 - 5), the 5 from memory", "5 / -0.0"];
const expected = [Infinity, Infinity, Infinity, -Infinity];
const seen = [Infinity, 0, 0, -Infinity];
names.forEach((name, i) => console.log(`${name}: expected ${expected[i]}, got ${got[i]}`));
console.log(`errors and messages: ${messages}`);
const same = messages === 0 && got.every((value, i) => value === seen[i]);
console.log(same ? "as described" : "CHANGED");
Deno.exit(same ? 0 : 1);
JS
echo "mesa-vulkan-drivers $mesa"
node_modules/.bin/deno run --quiet --no-config division.mjs
