/**
 * The launcher that started this process among others, as its environment tells it.
 *
 * @module
 */
import type { Host } from "./host.ts";

/** The launcher of a group of processes. */
export interface Launcher {
  /** Its name, for messages. */
  readonly name: string;
  /**
   * Whether its processes must load Open MPI (true) or any other implementation (false): a library that does not know
   * its launcher makes each process the only one. Undefined if both may know it.
   */
  readonly openMpi?: boolean;
  /** The number of this process, from 0. */
  readonly rank: number;
  /** The number of processes; undefined if it does not say. */
  readonly size?: number;
}

/** The launcher that started this process; undefined if none did, or if its variables may not be read. */
export function launcherOf(host: Host): Launcher | undefined {
  const places = (rank: string, size: string) => ({ rank: numberIn(host, rank), size: numberIn(host, size) });
  const openMpi = places("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"); // Open MPI's mpirun
  const pmi = places("PMI_RANK", "PMI_SIZE"); // Hydra (MPICH, Intel MPI, MVAPICH), and `srun --mpi=pmi2`
  const slurm = places("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"); // srun; a batch script is in no step
  const pmix = numberIn(host, "PMIX_RANK"); // `prun`; PMIx keeps the number of processes to itself
  if (openMpi.rank !== undefined) {
    const version = host.env("OMPI_VERSION");
    const name = `mpirun of Open MPI${version === undefined ? "" : ` ${version}`}`;
    return launcher(name, true, openMpi.rank, openMpi.size);
  }
  if (pmi.rank !== undefined) {
    // Slurm serves PMI-2 to any implementation, Hydra only to its own family. Hydra may start its proxies by srun.
    const bySlurm = slurm.rank === pmi.rank && slurm.size === pmi.size;
    return bySlurm
      ? launcher("srun", undefined, pmi.rank, pmi.size)
      : launcher("mpirun of MPICH", false, pmi.rank, pmi.size);
  }
  if (slurm.rank !== undefined && slurm.size !== undefined) {
    return launcher("srun", undefined, slurm.rank, slurm.size);
  }
  return pmix === undefined ? undefined : launcher("a PMIx launcher", undefined, pmix, undefined);
}

/** The number of this process among those that a launcher started on this machine, from 0; undefined if it does not say. */
export function localRankOf(host: Host): number | undefined {
  // Open MPI's, Hydra's and Slurm's.
  const variables = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];
  return variables.map((variable) => numberIn(host, variable)).find((rank) => rank !== undefined);
}

function launcher(
  name: string,
  openMpi: boolean | undefined,
  rank: number,
  size: number | undefined,
): Launcher {
  return {
    name,
    rank,
    ...(openMpi === undefined ? {} : { openMpi }),
    ...(size === undefined ? {} : { size }),
  };
}

/** The whole number that a variable holds; undefined for anything else. */
function numberIn(host: Host, variable: string): number | undefined {
  const text = host.env(variable);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
