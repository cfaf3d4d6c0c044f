import { assertEquals, assertRejects } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { launchCommand, shellText, trainMpi, wasKilled, without } from "./train_mpi.ts";

const mpich = {
  mpirun: "/mpich/bin/mpirun",
  isOpenMpi: false,
  library: "/mpich/lib/libmpi_abi.so.1",
  processes: 2,
  threads: 4,
  cores: 8,
  isRoot: true,
  program: ["deno", "run", "my script.ts"],
};

Deno.test("the command for a launcher has what it demands, and no more", () => {
  assertEquals(
    shellText(launchCommand(mpich)),
    "/mpich/bin/mpirun -n 2 -genv LOCALGRAD_THREADS 4 -genv LOCALGRAD_MPI /mpich/lib/libmpi_abi.so.1 " +
      "deno run 'my script.ts'",
  );
  const openMpi = { ...mpich, isOpenMpi: true, mpirun: "mpirun", library: "libmpi.so.40", program: ["deno"] };
  const rest = "-x LOCALGRAD_THREADS=4 -x LOCALGRAD_MPI=libmpi.so.40 deno";
  const text = (options: Partial<typeof openMpi>) => shellText(launchCommand({ ...openMpi, ...options }));
  assertEquals(text({ isRoot: false }), `mpirun --bind-to none -n 2 ${rest}`);
  assertEquals(text({}), `mpirun --bind-to none --allow-run-as-root -n 2 ${rest}`);
  assertEquals(text({ isRoot: false, cores: 1 }), `mpirun --bind-to none --oversubscribe -n 2 ${rest}`);
});

Deno.test("a killed process is told from errors, stops and finished runs", () => {
  assertEquals([9, 137].map(wasKilled), [true, true]);
  assertEquals([0, 1, 2, 3, 129, 130, 143].some(wasKilled), false);
});

Deno.test("train:mpi passes train's flags on, and refuses wrong ones before anything starts", async () => {
  assertEquals(without("--processes", ["--a", "1", "--processes", "2", "--json"]), ["--a", "1", "--json"]);
  assertEquals(without("--processes", ["--processes=2", "--json"]), ["--json"]);
  await assertRejects(() => trainMpi(["--epochs", "1"]), LocalgradError, "--processes N");
  await assertRejects(() => trainMpi(["--processes", "0"]), LocalgradError, "--processes must be");
  await assertRejects(() => trainMpi(["--processes", "2", "--epoch", "1"]), LocalgradError, "--epochs?");
});
