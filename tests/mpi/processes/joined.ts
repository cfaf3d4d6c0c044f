/** Joins the processes in a 2x2 layout, and reports its place and the sums of ranks in its groups. */
import { allReduce, devices, jit, processes, type Tensor } from "../../../mod.ts";
import { report } from "../report.ts";

const team = await processes.join({
  parallel: { data: 2, modules: Number(Deno.args[0]) },
  timeLimit: 20,
});
await using device = await devices.open("cpu", { processes: team, engine: "wasm" });
const totals: { [group: string]: number } = {};
for (const group of ["world", "data", "modules"]) {
  const sum = jit((x: Tensor) => allReduce(x, { group }), { device });
  using total = sum(team.rank);
  [totals[group]] = await total.read();
}
report(team.rank, { place: team.place, layout: team.layout, totals });
team.leave();
