import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { machine } from "../tests/machine.ts";
import { describeMpi } from "./doctor.ts";
import { launcherOf } from "./mpi_launcher.ts";
import { openMpiLibrary, searchMpi } from "./mpi_library.ts";

const paths = (...given: Parameters<typeof machine>) =>
  searchMpi(machine(...given)).candidates.map(({ path }) => path);
const loaded = ["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so.40"];

Deno.test("searchMpi() looks beside the launcher, in Pythons, conda, PATH, the loader and the system's folders", () => {
  const files = [
    "/launcher/lib/libmpi.so.40",
    "/venv/lib/libmpi_abi.so.1",
    "/venv/lib/libmpi.so.40",
    "/python/lib/libmpi_abi.so.0",
    "/conda/lib/libmpi.so.40",
    "/opt/mpi/lib/libmpi_abi.so.1",
    "/usr/lib/x86_64-linux-gnu/libmpi.so.40",
    "/usr/lib64/openmpi/lib/libmpi.so.40",
  ];
  const env = {
    OPAL_PREFIX: "/launcher",
    VIRTUAL_ENV: "/venv",
    PATH: "/python/bin:/opt/mpi/bin:/usr/bin",
    CONDA_PREFIX: "/conda",
  };
  const programs = ["/python/bin/python3", "/opt/mpi/bin/mpirun", "/usr/bin/mpirun"];
  assertEquals(paths([...files, ...programs], env), [...files.slice(0, 6), ...loaded, ...files.slice(6)]);
});

Deno.test("searchMpi() looks nowhere else if LOCALGRAD_MPI is set, and skips linker scripts", () => {
  const files = ["/own/libmpi.so.40", "/venv/lib/libmpi.so.40"];
  for (const chosen of ["/own", "/own/libmpi.so.40"]) {
    assertEquals(paths(files, { LOCALGRAD_MPI: chosen, VIRTUAL_ENV: "/venv" }), ["/own/libmpi.so.40"]);
  }
  assertEquals(paths([], { VIRTUAL_ENV: "/venv" }, ["/venv/lib/libmpi_abi.so.1"]), loaded);
});

Deno.test("launcherOf() reads the launcher's variables, the outer launcher's last", () => {
  const of = (env: Readonly<Record<string, string>>) => launcherOf(machine([], env));
  const slurm = { SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "4", SLURM_NTASKS: "4" };
  const open = { OMPI_COMM_WORLD_RANK: "2", OMPI_COMM_WORLD_SIZE: "3", PMIX_RANK: "2" };
  assertEquals(of({}), undefined);
  assertEquals(of(open), { name: "mpirun of Open MPI", rank: 2, openMpi: true, size: 3 });
  assertEquals(of({ ...open, ...slurm, OMPI_VERSION: "5.0.11" })?.name, "mpirun of Open MPI 5.0.11");
  const hydra = { PMI_RANK: "0", PMI_SIZE: "2" };
  assertEquals(of(hydra), { name: "mpirun of MPICH", rank: 0, openMpi: false, size: 2 });
  assertEquals(of({ ...hydra, ...slurm })?.name, "mpirun of MPICH"); // its proxies were started by srun
  assertEquals(of({ PMI_RANK: "1", PMI_SIZE: "4", ...slurm }), { name: "srun", rank: 1, size: 4 });
  assertEquals(of({ ...slurm, PMIX_RANK: "1" }), { name: "srun", rank: 1, size: 4 });
  assertEquals(of({ SLURM_PROCID: "0", SLURM_NTASKS: "4" }), undefined); // a batch script
  assertEquals(of({ PMIX_RANK: "1" }), { name: "a PMIx launcher", rank: 1 });
  assertEquals(of({ PMI_RANK: "-1", PMI_SIZE: "x" }), undefined);
});

Deno.test("openMpiLibrary() says what is missing: the permission, the library, another system, only MPICH before 5", () => {
  const refused = openMpiLibrary({ ...machine([]), mayOpen: false });
  assertEquals(refused.opened, undefined);
  assertStringIncludes(refused.report.remedy ?? "", "--allow-ffi");
  assertStringIncludes(openMpiLibrary({ ...machine([]), os: "windows" }).report.problem ?? "", "windows");
  const missing = openMpiLibrary(machine([], { LOCALGRAD_MPI: "libmpi-of-nowhere.so" })).report;
  assertStringIncludes(missing.problem ?? "", "libmpi-of-nowhere.so cannot be used");
  assertStringIncludes(missing.remedy ?? "", "correct LOCALGRAD_MPI");
  const gone = openMpiLibrary(machine([], { LOCALGRAD_MPI: "/gone" })).report;
  assertEquals(gone.problem, "none of libmpi_abi.so.1, libmpi_abi.so.0, libmpi.so.40 was found");
  assertStringIncludes(gone.remedy ?? "", "pip install mpich");
  const four = "/usr/lib/x86_64-linux-gnu/libmpi.so.12";
  const shadowed = loaded.map((name) => `own/${name}`); // keeps the loader of this machine out of it
  const older = openMpiLibrary(machine([four, ...shadowed], { LD_LIBRARY_PATH: "own" })).report;
  assertEquals(
    older.problem,
    "none of libmpi_abi.so.1, libmpi_abi.so.0, libmpi.so.40 was found, " +
      `only ${four}: MPICH before version 5 has another interface`,
  );
  assert(older.remedy?.startsWith("install MPICH 5"), older.remedy);
});

Deno.test("describeMpi() shows the library with its launcher, or what is missing and what to install", () => {
  const report = {
    title: "MPI",
    path: "/venv/lib/libmpi_abi.so.1",
    via: "a Python wheel",
    implementation: "MPICH",
    version: "5.0.2",
    abi: "standard ABI 1.0",
    mpirun: "/venv/bin/mpirun",
    tried: [],
  };
  assertEquals(describeMpi(report), [
    "  ✓ MPI: MPICH 5.0.2, standard ABI 1.0, started by /venv/bin/mpirun, /venv/lib/libmpi_abi.so.1 (a Python wheel)",
  ]);
  assertEquals(
    describeMpi({ title: "MPI", problem: "it was not found", remedy: "install it", tried: ["/a"] }),
    [
      "  ✗ MPI: it was not found",
      "      install it",
      "      looked at /a",
    ],
  );
});
