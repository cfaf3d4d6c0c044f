import { LocalgradError } from "../base/errors.ts";
import { defaultThreads } from "../backends/cpu/thread_count.ts";
import { MPI_INSTALL, type MpiLibrary, openMpiLibrary } from "../../ffi/mpi_library.ts";
import { type Flags, parseFlags, wholeNumber } from "./flags/flags.ts";
import { settingsFrom } from "./settings.ts";
import { trainFlags } from "./train.ts";
import { note } from "./terminal.ts";

/** Flags of `train:mpi`: those of `train`, and the number of processes. */
export const trainMpiFlags = {
  processes: { value: "N", help: "processes to start on this machine" },
  ...trainFlags,
} as const satisfies Flags;

/** What the command for a launcher depends on. */
export interface LaunchOptions {
  /** The launcher. */
  readonly mpirun: string;
  /** Whether it is Open MPI's, whose flags differ. */
  readonly isOpenMpi: boolean;
  /** The file of its library. */
  readonly library: string;
  readonly processes: number;
  /** Threads of each process. */
  readonly threads: number;
  readonly cores: number;
  /** Whether the user is root. */
  readonly isRoot: boolean;
  /** The program that each process runs, and its arguments. */
  readonly program: readonly string[];
}

/**
 * The command that starts the processes. Open MPI would bind two processes to a core each, with all their threads, and
 * refuses to run as root and to start more processes than there are cores, unless it is told to.
 */
export function launchCommand(options: LaunchOptions): string[] {
  const { mpirun, isOpenMpi, library, processes, threads, cores, isRoot, program } = options;
  const variables = { LOCALGRAD_THREADS: `${threads}`, LOCALGRAD_MPI: library };
  const given = Object.entries(variables).flatMap(([name, value]) =>
    isOpenMpi ? ["-x", `${name}=${value}`] : ["-genv", name, value]
  );
  const own = isOpenMpi
    ? [
      ...["--bind-to", "none"],
      ...(isRoot ? ["--allow-run-as-root"] : []),
      ...(processes > cores ? ["--oversubscribe"] : []),
    ]
    : [];
  return [mpirun, ...own, "-n", `${processes}`, ...given, ...program];
}

/** A command as a shell takes it. */
export function shellText(command: readonly string[]): string {
  return command.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)
    .join(" ");
}

/** The arguments without a flag and its value. */
export function without(flag: string, args: readonly string[]): string[] {
  const at = args.indexOf(flag);
  const rest = at < 0 ? args : args.toSpliced(at, 2);
  return rest.filter((arg) => !arg.startsWith(`${flag}=`));
}

/** `train:mpi`: starts `train` in several processes, by the `mpirun` beside the MPI library, and returns its exit code. */
export async function trainMpi(args: readonly string[]): Promise<number> {
  const given = parseFlags("train:mpi", trainMpiFlags, args);
  if (given.processes === undefined) {
    throw new LocalgradError("train:mpi needs the number of processes: --processes N");
  }
  const processes = wholeNumber("processes", given.processes, 1);
  settingsFrom(given); // refuses wrong settings once, and not in each process
  const { mpirun, library, isOpenMpi } = launcherIn(openMpiLibrary());
  const cores = navigator.hardwareConcurrency;
  const { threads, from } = defaultThreads();
  const command = launchCommand({
    ...{ mpirun, library, isOpenMpi, processes, cores },
    threads: from === "LOCALGRAD_THREADS" ? threads : Math.max(1, Math.floor(cores / processes)),
    isRoot: Deno.build.os !== "windows" && Deno.uid() === 0,
    program: [
      ...[Deno.execPath(), "run", "-q", `--config=${inPackage("deno.json")}`],
      ...[`--lock=${inPackage("deno.lock")}`, "-P=train", inPackage("src/cli/main.ts"), "train"],
      ...without("--processes", args),
    ],
  });
  note(shellText(command));
  const code = await run(command, isOpenMpi);
  if (wasKilled(code)) {
    note(
      "error: a process was killed, which ended all; the last checkpoint is whole: resume with --run DIR --resume",
    );
  }
  return code;
}

/**
 * True if a launcher's exit code says that a process was killed, such as for want of memory: of Open MPI's, as of a shell,
 * 128 and the signal's number, of MPICH's that number.
 */
export function wasKilled(code: number): boolean {
  return code === 9 || code === 128 + 9;
}

/** A path of the package. */
function inPackage(path: string): string {
  return decodeURIComponent(new URL(`../../${path}`, import.meta.url).pathname);
}

/** The launcher of a library. */
function launcherIn({ opened, report }: MpiLibrary): { mpirun: string; library: string; isOpenMpi: boolean } {
  if (opened === undefined) throw new LocalgradError(`MPI: ${report.problem}; ${report.remedy}`);
  if (report.mpirun === undefined) {
    throw new LocalgradError(`there is no mpirun beside ${opened.path} (${opened.name}); ${MPI_INSTALL}`);
  }
  return { mpirun: report.mpirun, library: opened.path, isOpenMpi: opened.isOpenMpi };
}

/** Signals that are passed on, with their numbers. */
const SIGNALS = [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const;

/**
 * Runs a command, and passes signals on to it: each once, since it is in a session of its own, which a terminal's Ctrl-C
 * does not reach. Open MPI's launcher would kill the processes a second later, so it gets SIGUSR1 first, which it passes on
 * and `train` takes for Ctrl-C. Returns the exit code; after a signal 128 plus its number, as in shells.
 */
async function run([program = "", ...args]: readonly string[], isOpenMpi: boolean): Promise<number> {
  let first = isOpenMpi;
  // Open MPI 5 shares its launcher's data at one address, which V8 has taken in some processes: they would not start.
  const env: Record<string, string> = isOpenMpi ? { PMIX_MCA_gds: "hash" } : {};
  const child = new Deno.Command(program, { args, env, stdin: "null", detached: true }).spawn();
  const listeners = SIGNALS.map(([name]) => {
    const pass = () => {
      try {
        child.kill(first ? "SIGUSR1" : name);
        first = false;
      } catch { // it has ended
      }
    };
    Deno.addSignalListener(name, pass);
    return [name, pass] as const;
  });
  try {
    const { code, signal } = await child.status;
    const number = SIGNALS.find(([name]) => name === signal)?.[1];
    return number === undefined ? code : 128 + number;
  } finally {
    for (const [name, pass] of listeners) Deno.removeSignalListener(name, pass);
  }
}

// Prints the launcher, which the task permits to be run; one that is not found is told of by the command.
if (import.meta.main) console.log(openMpiLibrary().report.mpirun ?? "mpirun");
