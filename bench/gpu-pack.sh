#!/usr/bin/env bash
# Packs into .gpu/ what bench/gpu.sh needs on a machine with a card and no network: Deno and the npm packages, the
# compiled kernels of everything it runs, losses recorded with WebAssembly, the Vulkan loader, and data files. The machine
# is x86-64 Linux with an NVIDIA driver, Python, and the CUDA libraries that PyTorch installs.
#
#   bench/gpu-pack.sh [FILE ...]              everything; FILEs are data, such as CIFAR-10's data_batch_1.bin
#   bench/gpu-pack.sh --data-only FILE ...    these files alone, for a machine that has unpacked the rest
#   bench/gpu-pack.sh --dry [FILE ...]        kernels of a dry run, for the simulated device
#
# There: `. .gpu/enter.sh` in the project's root, then `bench/gpu.sh`. Kernels are compiled for sm_90 by the NVRTC named
# in NVRTC_VERSION, 13.0.88 by default: they are used only if the machine has the same one.
set -euo pipefail
cd "$(dirname "$0")/.."
what=all ours=() level=${PACK_LEVEL:--6}
case ${1:-} in
  --data-only) what=data; shift ;;
  --dry) what=dry; shift ;;
  -*) echo "gpu-pack.sh: there is no $1" >&2; exit 2 ;;
esac
if [ "$what" = data ] && [ $# = 0 ]; then echo "gpu-pack.sh: --data-only needs a FILE" >&2; exit 2; fi
for file in "$@"; do
  [ -f "$file" ] || { echo "gpu-pack.sh: there is no file $file" >&2; exit 2; }
done

# A machine limits what can be sent along: all of .gpu/, and with the rest of the tree 64 MiB.
most=$((59 << 20))
out=.gpu build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
rm -rf "$out"
mkdir -p "$out" "$build/bin" "$build/cache" "$build/dry-cache" "$build/data"
run() { deno run --quiet --no-check "$@"; }
archive() { tar -C "$build" -cf - "${@:2}" | xz "$level" -T0 > "$out/$1.tar.xz"; }

if [ "$what" != data ]; then
  cp "$(deno eval 'console.log(Deno.execPath())')" "$build/bin/deno"
  shopt -s globstar nullglob
  echo "packages"
  packages() { DENO_DIR=$build/deno_dir deno cache --quiet "$@"; }
  for file in bench/**/*.ts; do
    case $file in bench/peers/*) ;; *) ours+=("$file") ;; esac
  done
  packages "${ours[@]}"
  packages --config bench/peers/deno.json bench/peers/jax.ts
  find "$build/deno_dir" -maxdepth 1 \( -name '*_cache_v*' -o -name gen \) -exec rm -rf {} + # made again there
  archive deno bin deno_dir
  echo "losses"
  size=() losses=losses.json
  if [ "$what" = dry ]; then size=(--small) losses=losses-small.json; fi
  run --allow-read --allow-env --allow-write="$out" bench/gpu/losses.ts --record "$out/$losses" "${size[@]}"
  echo "kernels"
  if [ "$what" = dry ]; then
    run -P=gpu bench/gpu/kernels.ts --dry --into "$build/dry-cache/localgrad/cubin"
  else
    version=${NVRTC_VERSION:-13.0.88}
    nvrtc=${XDG_CACHE_HOME:-$HOME/.cache}/localgrad/nvrtc-$version
    [ -d "$nvrtc/nvidia" ] || python3 -m pip install --quiet --no-deps --target "$nvrtc" "nvidia-cuda-nvrtc==$version"
    PYTHONPATH=$nvrtc run -P=gpu bench/gpu/kernels.ts --into "$build/cache/localgrad/cubin"
  fi
  archive kernels cache dry-cache
  (cd "$out" && apt-get download libvulkan1 > /dev/null 2>&1) || echo "no Vulkan loader packed: WebGPU may find no adapter there"
fi
if [ $# -gt 0 ]; then
  echo "data"
  cp "$@" "$build/data"
  archive "data-$(basename "$1")" data
fi

cat > "$out/enter.sh" <<'ENTER'
# Source this in the project's root: `. .gpu/enter.sh`. Unpacks, once, what bench/gpu-pack.sh packed.
_root=${TMPDIR:-/tmp}/localgrad-gpu
mkdir -p "$_root"
for _archive in .gpu/*.tar.xz; do
  _unpacked=$_root/unpacked-$(cksum < "$_archive" | tr ' ' -)
  [ -e "$_unpacked" ] || { python3 -W ignore -m tarfile -e "$_archive" "$_root" && touch "$_unpacked"; }
done
for _package in .gpu/*.deb; do
  if [ -e "$_package" ] && ! ldconfig -p | grep -q libvulkan; then dpkg -x "$_package" / && ldconfig; fi
done
export PATH="$_root/bin:$PATH" DENO_DIR="$_root/deno_dir" DENO_NO_UPDATE_CHECK=1
export XDG_CACHE_HOME="$_root/cache" GPU_HOST_ROOT="$_root"
for _file in {/usr/share,/etc,/usr/local/nvidia/share}/vulkan/icd.d/nvidia_icd.json; do
  if [ -z "${VK_DRIVER_FILES:-}" ] && [ -e "$_file" ]; then export VK_DRIVER_FILES="$_file"; fi
done
ENTER
bytes=$(du -sb "$out" | cut -f1)
du -ab "$out" | sort -k2
if [ "$what" != dry ] && [ "$bytes" -gt "$most" ]; then
  echo "gpu-pack.sh: $bytes bytes are more than $most; send data by a second --data-only" >&2
  exit 1
fi
