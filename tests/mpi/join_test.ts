/** `processes.join` with the processes of a real launch, and alone. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/joined.ts");

for (const mpi of implementations) {
  Deno.test({
    name: `${mpi.name}: processes join in a layout, each with its place and its groups`,
    ignore: skipped,
    fn: async () => {
      const { code, stderr, reports } = await start(mpi, { processes: 4, script, args: ["2"] });
      assertEquals(code, 0, stderr);
      const layout = { data: 2, modules: 2 };
      assertEquals(reports, [
        { place: { data: 0, modules: 0 }, layout, totals: { world: 6, data: 0 + 2, modules: 0 + 1 } },
        { place: { data: 0, modules: 1 }, layout, totals: { world: 6, data: 1 + 3, modules: 0 + 1 } },
        { place: { data: 1, modules: 0 }, layout, totals: { world: 6, data: 0 + 2, modules: 2 + 3 } },
        { place: { data: 1, modules: 1 }, layout, totals: { world: 6, data: 1 + 3, modules: 2 + 3 } },
      ]);
    },
  });
}

Deno.test({
  name: "a layout of another number of processes is refused, and ends all",
  ignore: skipped,
  fn: async () => {
    const { code, stderr } = await start(implementations[0], { processes: 2, script, args: ["2"] });
    assertEquals(code, 1);
    assertStringIncludes(stderr, "parallel: 2 × 2 is 4 processes, but 2 were started; start as many");
  },
});

Deno.test("a process alone joins without any permission", async () => {
  const module = import.meta.resolve("../../src/processes.ts");
  const code = `import { join } from "${module}";
    const { rank, size, layout } = await join({ parallel: { data: 2, modules: 4 } });
    console.log(JSON.stringify({ rank, size, layout }));`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", `data:application/typescript,${encodeURIComponent(code)}`],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  const found = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(found, { rank: 0, size: 1, layout: { data: 1, modules: 1 } });
});
