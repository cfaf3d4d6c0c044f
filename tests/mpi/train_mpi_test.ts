/** `train:mpi` with real processes: what it prints, Ctrl-C, exit codes. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { implementations, skipped } from "./start.ts";

const root = fromFileUrl(new URL("../..", import.meta.url));
const small = ["--model", "resnet8", "--train-limit", "64", "--test-limit", "16", "--batch", "16"];

for (const { name, prefix } of implementations) {
  Deno.test({
    // Ctrl-C right after an epoch: the first process has saved that step, and the others must not wait for it to.
    name: `train:mpi of ${name} trains in two processes, and passes Ctrl-C on once`,
    ignore: skipped,
    async fn() {
      const run = await Deno.makeTempDir();
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-q", `--config=${root}deno.json`, `--lock=${root}deno.lock`, "-P=mpi"],
          ...[`--allow-run=${prefix}/bin/mpirun`, `${root}src/cli/main.ts`, "train:mpi"],
          ...[
            "--processes",
            "2",
            "--parallel",
            "modules",
            ...small,
            "--epochs",
            "1000",
            "--run",
            `${run}/run`,
          ],
        ],
        env: { NO_COLOR: "1", LOCALGRAD_MPI: `${prefix}/lib`, LOCALGRAD_CPU: "wasm" },
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);

      let stderr = "", told = false;
      for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
        stderr += text;
        if (!told && /epoch 1\//.test(stderr)) {
          told = true;
          child.kill("SIGINT");
        }
      }
      const { code } = await child.status;
      clearTimeout(timer);
      assertMatch(
        stderr,
        new RegExp(`^${prefix}/bin/mpirun .*-n 2 .*LOCALGRAD_THREADS.* train --parallel modules`, "m"),
      );
      assertEquals(stderr.match(/stopping after this step/g)?.length, 1, stderr);
      assert(code !== 0, stderr);
      assert((await Deno.stat(`${run}/run/last.safetensors`)).size > 0);
      await Deno.remove(run, { recursive: true });
    },
  });
}
