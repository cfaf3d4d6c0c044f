import { assert, assertEquals } from "@std/assert";
import { machine } from "../tests/machine.ts";
import type { Host } from "./host.ts";
import { cudnnParts, nvrtcParts, pythonFolders, search } from "./search.ts";

const paths = (host: Host, name: Parameters<typeof search>[0] = "nvrtc", major = 13) =>
  search(name, major, host).candidates.map(({ path }) => path);

Deno.test("search() looks in wheels, conda, the loader and toolkits, in this order", () => {
  const files = [
    "/venv/bin/python3",
    "/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
    "/conda/lib/libnvrtc.so.13",
    "/cuda/lib64/libnvrtc.so.13",
    "/usr/local/cuda/targets/x86_64-linux/lib/libnvrtc.so.13",
    "/usr/lib/x86_64-linux-gnu/libnvrtc.so.13",
  ];
  const env = { PATH: "/nothing:/venv/bin", CONDA_PREFIX: "/conda", CUDA_HOME: "/cuda" };
  assertEquals(paths(machine(files, env)), [files[1], files[2], "libnvrtc.so.13", ...files.slice(3)]);
});

Deno.test("search() finds the folders of CUDA 12's wheels, and looks for one major version only", () => {
  const files = [
    "/venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
    "/venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
    "/venv/lib/python3.12/site-packages/nvidia/cudnn/lib/libcudnn.so.9",
  ];
  const host = machine(files, { VIRTUAL_ENV: "/venv" });
  assertEquals(paths(host, "nvrtc", 12), [files[0], "libnvrtc.so.12"]);
  assertEquals(paths(host, "cublasLt", 12), [files[1], "libcublasLt.so.12"]);
  assertEquals(paths(host, "cudnn", 12), [files[2], "libcudnn.so.9"]);
  assertEquals(paths(host, "nvrtc", 13), ["libnvrtc.so.13"]);
});

Deno.test("search() looks nowhere else if an override is set, whether a file or a folder", () => {
  const files = ["/own/libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.13"];
  assertEquals(paths(machine(files, { LOCALGRAD_LIBNVRTC: "/own" })), [files[0]]);
  assertEquals(paths(machine(files, { LOCALGRAD_LIBNVRTC: "/own/libnvrtc.so.13" })), [files[0]]);
  const { candidates, tried } = search("nvrtc", 13, machine(files, { LOCALGRAD_LIBNVRTC: "/gone" }));
  assertEquals(candidates, []);
  assertEquals(tried, ["/gone (LOCALGRAD_LIBNVRTC): no shared library there"]);
});

Deno.test("search() leaves an override that is a bare name to the loader, and does not report it as found", () => {
  const here = ["libnvrtc.so.13"]; // in the current folder, where the loader does not look
  const { candidates, tried } = search("nvrtc", 13, machine(here, { LOCALGRAD_LIBNVRTC: "libnvrtc.so.13" }));
  assertEquals(candidates, [{ path: "libnvrtc.so.13", via: "LOCALGRAD_LIBNVRTC" }]);
  assertEquals(tried, ["libnvrtc.so.13 (LOCALGRAD_LIBNVRTC): left to the system's loader"]);
});

Deno.test("search() skips relative folders, and reports skipped entries of lists", () => {
  const wheel = "lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13";
  const files = [
    "bin/python3",
    `./${wheel}`,
    wheel,
    "nvidia/cu13/lib/libnvrtc.so.13",
    "./nvidia/cu13/lib/libnvrtc.so.13",
    "cuda/lib64/libnvrtc.so.13",
    "conda/lib/libnvrtc.so.13",
  ];
  for (const PATH of ["bin", "./bin:", ":bin"]) {
    const relative = {
      PATH,
      PYTHONPATH: ".",
      VIRTUAL_ENV: ".",
      HOME: ".",
      CUDA_HOME: "cuda",
      CONDA_PREFIX: "conda",
    };
    const { candidates, tried } = search("nvrtc", 13, machine(files, relative));
    assertEquals(candidates.map(({ path }) => path), ["libnvrtc.so.13"]);
    assert(tried.includes("PYTHONPATH: relative entries are skipped (.)"), tried.join("\n"));
    assert(
      tried.some((place) => place.startsWith("PATH: relative entries are skipped (")),
      tried.join("\n"),
    );
  }
});

Deno.test("search() looks in the absolute entries of LD_LIBRARY_PATH, and never lets the loader use a relative one", () => {
  const files = ["/opt/lib/libnvrtc.so.13", "./libnvrtc.so.12", "own/libnvrtc.so.13"];
  const from = (LD_LIBRARY_PATH: string, major = 13) =>
    search("nvrtc", major, machine(files, { LD_LIBRARY_PATH }));
  assertEquals(from("/opt/lib:").candidates, [
    { path: files[0], via: "LD_LIBRARY_PATH" },
    { path: "libnvrtc.so.13", via: "the system's loader" }, // the current folder has none
  ]);
  for (const list of ["own", "/nothing:own:/opt/lib"]) {
    const { candidates, tried } = from(list);
    assertEquals(candidates.map(({ path }) => path), list === "own" ? [] : [files[0]]);
    assert(tried.some((place) => place.includes('from "own", a relative entry of LD_LIBRARY_PATH')));
  }
  assertEquals(from("/opt/lib:", 12).candidates, []); // an empty entry is the current folder
});

Deno.test("search() skips linker scripts, and reports them", () => {
  const script = "/usr/local/cuda/lib64/libnvrtc.so.13";
  const { candidates, tried } = search("nvrtc", 13, machine([], {}, [script]));
  assertEquals(candidates.map(({ path }) => path), ["libnvrtc.so.13"]);
  assert(tried.includes(`${script}: not a shared library (a linker script?)`));
});

Deno.test("search() never looks for the driver in wheels or toolkits", () => {
  const files = [
    "/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libcuda.so.1",
    "/usr/local/cuda/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
  ];
  assertEquals(paths(machine(files, { VIRTUAL_ENV: "/venv" }), "driver"), ["libcuda.so.1", files[2]]);
});

Deno.test("search() finds the driver where container toolkits put it", () => {
  for (
    const folder of [
      ...["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/home/kubernetes/bin/nvidia/lib64"],
      ...["/run/nvidia/driver/usr/lib/x86_64-linux-gnu", "/run/nvidia/driver/usr/lib64"],
      ...["/.singularity.d/libs", "/usr/lib64/nvidia", "/run/opengl-driver/lib"],
    ]
  ) {
    const { candidates } = search("driver", 13, machine([`${folder}/libcuda.so.1`]));
    assertEquals(candidates, [
      { path: "libcuda.so.1", via: "the system's loader" },
      { path: `${folder}/libcuda.so.1`, via: "a container's driver" },
    ]);
  }
});

Deno.test("pythonFolders() returns each folder with NVIDIA's packages once, also with version managers", () => {
  const host = machine([
    "/home/u/.pyenv/shims/python3",
    "/home/u/.pyenv/versions/3.11/lib/python3.11/site-packages/nvidia/x",
    "/home/u/.pyenv/versions/3.12/lib/python3.12/site-packages/numpy/x",
    "/target/nvidia/x",
    "/usr/bin/python3",
    "/usr/lib/python3/dist-packages/nvidia/x",
  ], { PATH: "/home/u/.pyenv/shims:/usr/bin:/usr/bin", PYTHONPATH: "/target:/empty" });
  assertEquals(pythonFolders(host), [
    "/target",
    "/home/u/.pyenv/versions/3.11/lib/python3.11/site-packages",
    "/usr/lib/python3/dist-packages",
  ]);
});

Deno.test("cudnnParts() returns cuDNN's other files in one folder, dependencies first", () => {
  const names = ["ops", "engines_precompiled", "newer", "graph", "cnn", "heuristic"].map((part) =>
    `/w/libcudnn_${part}.so.9`
  );
  const host = machine([...names, "/w/libcudnn.so.9", "/w/libcudnn_ops.so.8", "/other/libcudnn_adv.so.9"]);
  assertEquals(
    cudnnParts("/w", host),
    ["graph", "ops", "cnn", "heuristic", "engines_precompiled", "newer"].map((part) =>
      `/w/libcudnn_${part}.so.9`
    ),
  );
});

Deno.test("nvrtcParts() returns the built-ins of the same major version", () => {
  const host = machine(["/w/libnvrtc-builtins.so.13.0", "/w/libnvrtc-builtins.so.12.8", "/w/libnvrtc.so.13"]);
  assertEquals(nvrtcParts("/w", 13, host), ["/w/libnvrtc-builtins.so.13.0"]);
});
