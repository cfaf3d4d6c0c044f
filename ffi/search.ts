/**
 * Searches for CUDA's libraries: in an override, Python wheels, conda, the system's loader, and CUDA toolkits.
 *
 * @module
 */
import type { Host } from "./host.ts";
import {
  entries,
  folderNamed,
  isAbsolute,
  multiarch,
  Places,
  pythonPrefixes,
  type Search,
} from "./places.ts";

/** The libraries that this package opens, in order: each may need earlier ones. */
export const libraryNames = ["driver", "nvrtc", "cublasLt", "cudnn"] as const;

/** The name of a library. */
export type LibraryName = (typeof libraryNames)[number];

/** A library, before it is found. */
export interface Description {
  /** Its name in messages. */
  readonly title: string;
  /** Its purpose in this package. */
  readonly purpose: string;
  /**
   * The environment variable that names its file or folder, or a bare name for the system's loader. If it is set, the
   * search looks nowhere else.
   */
  readonly override: string;
  /** The name of its file, for a major version of CUDA. */
  soname(major: number): string;
  /** Its folders under `site-packages`, for a major version of CUDA. */
  wheels(major: number): readonly string[];
  /** Instructions for installing it. */
  readonly install: string;
}

/** The description of each library. */
export const libraries: { readonly [L in LibraryName]: Description } = {
  driver: {
    title: "the CUDA driver",
    purpose: "memory, launches, graphs",
    override: "LOCALGRAD_LIBCUDA",
    soname: () => "libcuda.so.1",
    wheels: () => [], // it comes with the kernel module, never in a wheel
    install: "install NVIDIA's driver (in a container: start it with the NVIDIA runtime, `--gpus all`)",
  },
  nvrtc: {
    title: "NVRTC",
    purpose: "compiles kernels",
    override: "LOCALGRAD_LIBNVRTC",
    soname: (major) => `libnvrtc.so.${major}`,
    wheels: (major) => wheelFolders(major, "cuda_nvrtc"),
    install: "pip install nvidia-cuda-nvrtc (nvidia-cuda-nvrtc-cu12 for CUDA 12), or the CUDA toolkit",
  },
  cublasLt: {
    title: "cuBLASLt",
    purpose: "matrix products",
    override: "LOCALGRAD_LIBCUBLASLT",
    soname: (major) => `libcublasLt.so.${major}`,
    wheels: (major) => wheelFolders(major, "cublas"),
    install: "pip install nvidia-cublas (nvidia-cublas-cu12 for CUDA 12), or the CUDA toolkit",
  },
  cudnn: {
    title: "cuDNN",
    purpose: "convolutions",
    override: "LOCALGRAD_LIBCUDNN",
    soname: () => "libcudnn.so.9",
    wheels: () => ["nvidia/cudnn/lib"],
    install: "pip install nvidia-cudnn-cu13 (nvidia-cudnn-cu12 for CUDA 12), or the package libcudnn9",
  },
};

/** The supported major versions of CUDA, preferred first. */
export const majors: readonly [number, ...number[]] = [13, 12];

function wheelFolders(major: number, name: string): string[] {
  return major >= 13 ? [`nvidia/cu${major}/lib`] : [`nvidia/${name}/lib`];
}

/**
 * The folders of Python packages that contain NVIDIA's, each once: those of PYTHONPATH, then VIRTUAL_ENV, then PATH.
 * Relative entries are skipped, so that nothing is loaded from the current folder.
 */
export function pythonFolders(host: Host): string[] {
  const found = new Set<string>();
  for (const folder of entries(host, "PYTHONPATH").filter(isAbsolute)) found.add(folder);
  for (const prefix of pythonPrefixes(host)) {
    for (const lib of ["lib", "local/lib", "lib64"]) {
      const folder = `${prefix === "/" ? "" : prefix}/${lib}`;
      for (const version of host.list(folder).filter((name) => /^python3(\.\d+)?$/.test(name))) {
        found.add(`${folder}/${version}/site-packages`);
        found.add(`${folder}/${version}/dist-packages`);
      }
    }
  }
  return [...found].filter((folder) => host.list(folder).includes("nvidia"));
}

/** Searches for a library for a major version of CUDA. */
export function search(name: LibraryName, major: number, host: Host): Search {
  return searchFor(libraries[name], major, host);
}

/** Searches for a library that is described as those of CUDA are. */
export function searchFor(description: Description, major: number, host: Host): Search {
  const { override, soname, wheels } = description;
  const isDriver = description === libraries.driver;
  const file = soname(major);
  const places = new Places(host, file);
  const { tried } = places;
  const look = (folder: string, via: string): void => places.look(folder, via);
  if (places.override(override)) return places;

  if (wheels(major).length > 0) {
    const folders = pythonFolders(host);
    if (folders.length === 0) {
      tried.push("Python packages (PYTHONPATH, VIRTUAL_ENV, PATH): none from NVIDIA");
    }
    for (const list of ["PYTHONPATH", "PATH"]) {
      const relative = entries(host, list).filter((entry) => !isAbsolute(entry));
      if (relative.length > 0) {
        tried.push(
          `${list}: relative entries are skipped (${relative.map((entry) => entry || '""').join()})`,
        );
      }
    }
    for (const folder of folders) {
      for (const wheel of wheels(major)) look(`${folder}/${wheel}`, "a Python wheel");
    }
  }
  const conda = folderNamed(host, "CONDA_PREFIX");
  if (conda !== undefined && !isDriver) look(`${conda}/lib`, "CONDA_PREFIX");
  places.loader();
  const target = host.arch === "aarch64" ? "sbsa-linux" : "x86_64-linux";
  if (isDriver) {
    for (const folder of ["/usr/lib/wsl/lib", multiarch(host), "/usr/lib64"]) {
      look(folder, "system folder");
    }
    for (const folder of driverFolders(host)) look(folder, "a container's driver");
    return places;
  }
  const toolkits = [
    folderNamed(host, "CUDA_HOME"),
    folderNamed(host, "CUDA_PATH"),
    `/usr/local/cuda-${major}`,
    "/usr/local/cuda",
    "/opt/cuda",
  ];
  for (const toolkit of new Set(toolkits)) {
    if (toolkit === undefined) continue;
    for (const lib of ["lib64", "lib", `targets/${target}/lib`]) look(`${toolkit}/${lib}`, "a CUDA toolkit");
  }
  look(multiarch(host), "system folder");
  return places;
}

/**
 * The folders in which container toolkits and distributions put the driver's libraries without telling the loader:
 * Kubernetes' device plugins and nvidia-docker 1 (/usr/local/nvidia), GKE's nodes, NVIDIA's GPU operator (its driver
 * container's root), Apptainer's `--nv`, RPM Fusion, NixOS.
 */
function driverFolders(host: Host): string[] {
  return [
    ...["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/home/kubernetes/bin/nvidia/lib64"],
    ...[`/run/nvidia/driver${multiarch(host)}`, "/run/nvidia/driver/usr/lib64", "/.singularity.d/libs"],
    ...["/usr/lib64/nvidia", "/run/opengl-driver/lib"],
  ];
}

/** The other files of cuDNN in a folder, dependencies first. libcudnn.so.9 is a shim that opens them by bare name. */
export function cudnnParts(folder: string, host: Host): string[] {
  const order = [
    "graph",
    "ops",
    "cnn",
    "adv",
    "ext",
    "heuristic",
    "engines_precompiled",
    "engines_tensor_ir",
  ];
  const rank = (name: string) => {
    const at = order.indexOf(name.slice("libcudnn_".length, -".so.9".length));
    return at < 0 ? order.length : at;
  };
  const parts = host.list(folder).filter((name) => /^libcudnn_\w+\.so\.9$/.test(name));
  return parts.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b)).map((name) => `${folder}/${name}`);
}

/** NVRTC's built-in headers, which wheels before 13.1 do not find on their own. */
export function nvrtcParts(folder: string, major: number, host: Host): string[] {
  const pattern = new RegExp(`^libnvrtc-builtins\\.so\\.${major}\\.\\d+$`);
  return host.list(folder).filter((name) => pattern.test(name)).map((name) => `${folder}/${name}`);
}
