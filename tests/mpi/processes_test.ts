/** Real processes on both implementations: what they exchange, and how they end. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Implementation, implementations, type Outcome, skipped, start } from "./start.ts";

const operations = import.meta.resolve("./processes/operations.ts");
const endings = import.meta.resolve("./processes/endings.ts");

/** A test on each implementation. */
function each(name: string, run: (mpi: Implementation) => Promise<void>): void {
  for (const mpi of implementations) {
    Deno.test({ name: `${mpi.name}: ${name}`, ignore: skipped, fn: () => run(mpi) });
  }
}

const texts = (report: unknown) => report as readonly string[];

function assertSuccess({ code, stdout, stderr }: Outcome): void {
  assertEquals(code, 0, `${stdout}${stderr}`);
}

for (const processes of [2, 3, 4]) {
  each(`every operation and dtype between ${processes} processes, and in groups of them`, async (mpi) => {
    const outcome = await start(mpi, { processes, script: operations });
    assertSuccess(outcome);
    for (const [rank, report] of outcome.reports.entries()) {
      const { implementation, ...place } = report as Record<string, unknown>;
      assertMatch(`${implementation}`, new RegExp(`^${mpi.name} \\d`));
      assertEquals({ ...place, machine: "" }, { rank, size: processes, machine: "", sharing: processes });
    }
  });
}

each(
  "transfers in parts of three elements give the same results",
  async (mpi) => assertSuccess(await start(mpi, { processes: 2, script: operations, args: ["3"] })),
);

/** Runs the operations in a process that no launcher started. */
async function alone({ prefix }: Implementation, env: Readonly<Record<string, string>> = {}) {
  const REPORTS = await Deno.makeTempDir();
  try {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-q",
        "--allow-ffi",
        "--allow-env",
        "--allow-read",
        `--allow-write=${REPORTS}`,
        operations,
      ],
      env: { NO_COLOR: "1", LOCALGRAD_MPI: `${prefix}/lib`, REPORTS, ...env },
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(REPORTS, { recursive: true });
  }
}

each("a process that no launcher started is the only one of its world", async (mpi) => {
  assertEquals(await alone(mpi), { code: 0, stderr: "" });
});

each(
  "a process that should be one of several, but whose MPI does not know the launcher, is refused",
  async (mpi) => {
    const { code, stderr } = await alone(mpi, { SLURM_PROCID: "1", SLURM_STEP_NUM_TASKS: "2" });
    assertEquals(code, 1);
    assertStringIncludes(stderr, `srun started this process as number 1 of 2, but ${mpi.name} 5`);
    assertStringIncludes(stderr, "made it number 0 of 1: it does not know this launcher");
    assertStringIncludes(stderr, `Start the processes by the mpirun of that MPI (${mpi.prefix}/bin/mpirun)`);
  },
);

each("processes whose calls differ say after the time limit what they wait for", async (mpi) => {
  const { code, reports } = await start(mpi, { processes: 2, script: endings, args: ["unequal"] });
  assertEquals(reports, [
    "allReduce (sum) of 8 bytes of f32, collective 1 of this process, in process 0 of 2 took more than 1 s: " +
    "another process has not made the matching call, or has stopped",
    "receive of 8 bytes from process 0 with tag 5 in process 1 of 2 took more than 1 s: " +
    "another process has not made the matching call, or has stopped",
  ]);
  assertEquals(code, 1); // neither left
});

each("a message of another length than the receiver's is refused", async (mpi) => {
  const outcome = await start(mpi, { processes: 2, script: endings, args: ["lengths"] });
  assertSuccess(outcome);
  const [longer, shorter] = texts(outcome.reports[1]);
  assertMatch(
    longer,
    /^MPI: receive of 4 bytes from process 0 with tag 1 in process 1 of 2 failed with MPI_ERR_TRUNCATE \(\d+\): .*truncated/,
  );
  assertEquals(
    shorter,
    "receive of 12 bytes from process 0 with tag 2 in process 1 of 2 got a message of 8 bytes, not 12",
  );
});

each("wrong arguments, a second world, and leaving before transfers are done are refused", async (mpi) => {
  const outcome = await start(mpi, { processes: 2, script: endings, args: ["arguments"] });
  assertSuccess(outcome);
  for (const [rank, report] of outcome.reports.entries()) {
    assertEquals(texts(report), [
      "allReduce: 5 bytes are no whole number of f32 elements",
      "broadcast: root must be a whole number from 0 to 1, not 2",
      "send: to must be a whole number from 0 to 1, not -1",
      "receive: tag must be a whole number from 0 to 32767, not 32768",
      "split: color must be a whole number from 0 to 2147483647, not -1",
      "this process has joined the others before: pass its World on",
      `process ${rank} of 2 leaves before this is done: receive of 8 bytes from process ${rank} with tag 3`,
      "this process has joined the others before: MPI cannot start again after it has ended",
    ]);
  }
});

const left = "error: process 1 of 4 ended without leaving the others, which ends all";
const early = [
  { how: "kill", says: /signal 9/ },
  { how: "exit", says: new RegExp(left), exit: 1 },
  { how: "end", says: new RegExp(left), exit: 1 },
  { how: "code", says: /MPI_Abort|MPI_ABORT/, exit: 3 },
  { how: "throw", says: /this one failed/ },
];
for (const { how, says, exit } of early) {
  each(
    `one of four processes ends early (${how}): all end within seconds, with a line and an exit code`,
    async (mpi) => {
      const { code, seconds, stdout, stderr, reports } = await start(mpi, {
        processes: 4,
        script: endings,
        args: [how],
      });
      assert(exit === undefined ? code !== 0 : code === exit, `exit code ${code}`);
      assertMatch(`${stdout}${stderr}`, says);
      assertEquals(reports, new Array(4).fill(undefined));
      assert(seconds < 10, `${seconds} s`); // the time limit of the others is 20
    },
  );
}

each(
  "where the launcher leaves the others alone, they end after the time limit, and say what they waited for",
  async (mpi) => {
    const signal = mpi.name === "MPICH" ? "SIGSTOP" : "SIGKILL"; // no launcher notices that one stands still
    const options = { processes: 3, script: endings, args: ["alone", signal], flags: mpi.lenient };
    const { code, seconds, stderr, reports } = await start(mpi, options);
    assert(code !== 0);
    assertMatch(
      stderr,
      /allReduce \(sum\) of 8 bytes of f32, collective 2 of this process, in process [02] of 3 took more than 1 s/,
    );
    assertEquals(reports, new Array(3).fill(undefined));
    assert(seconds < 10, `${seconds} s`);
  },
);

each("a file is whole, as a checkpoint must be, when its writer is killed during a save", async (mpi) => {
  const folder = await Deno.makeTempDir();
  try {
    const args = ["saving", folder];
    const permissions = [`--allow-write=${folder}`, "--allow-run"];
    const { code, reports } = await start(mpi, { processes: 2, script: endings, args, permissions });
    assert(code !== 0);
    assertEquals(reports, [undefined, undefined]);
    const saved = await Deno.readFile(`${folder}/last`);
    assertEquals(saved.length, 2 ** 25);
    assert(saved[0] !== 0 && saved.every((byte) => byte === saved[0]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "a process that loads another MPI than its launcher's is refused by name",
  ignore: skipped,
  fn: async () => {
    for (const [mpi, other] of [implementations, implementations.toReversed()]) {
      const env = { LOCALGRAD_MPI: `${other.prefix}/lib` };
      const { code, stderr } = await start(mpi, { processes: 2, script: operations, env });
      assertEquals(code, 1);
      assertStringIncludes(stderr, `cannot be used: it is ${other.name} 5`);
      assertStringIncludes(stderr, `but mpirun of ${mpi.name}`);
    }
  },
});
