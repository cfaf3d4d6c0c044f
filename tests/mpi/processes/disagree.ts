/** Trainers of processes that differ, as the argument says; each process reports the messages of the errors. */
import { devices, HostArray, LocalgradError, type models, nn, processes } from "../../../mod.ts";
import type { Observer } from "../../../src/artifacts/observer.ts";
import type { DeviceArray } from "../../../src/runtime/arrays.ts";
import { treeLeaves } from "../../../src/trace/tree.ts";
import { tinyDataset, tinyModel } from "../../tiny.ts";
import { make } from "../../tiny_trainer.ts";
import { report } from "../report.ts";

const [how] = Deno.args;
const messages: string[] = [];

/** Reports the message of a user's error, and ends this process. */
async function refused(rank: number, run: () => Promise<unknown>, last = true): Promise<void> {
  try {
    await run();
    messages.push("nothing was refused");
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    messages.push(error.message);
  }
  report(rank, messages);
  if (last) Deno.exitCode = 2;
}

if (how === "parallel") {
  const rank = Number(Deno.env.get("PMI_RANK"));
  await refused(rank, () => processes.join({ parallel: rank === 1 ? "data" : "modules", timeLimit: 20 }));
} else {
  const team = await processes.join({ parallel: "data", timeLimit: 20, threads: 1 });
  const { rank } = team;
  const odd = rank === 1;
  const another = () => devices.open(odd ? "reference" : "cpu", { processes: team });
  await refused(rank, another, false);
  const device = await devices.open("cpu", { processes: team, engine: "wasm" });
  const plain = tinyModel();
  const other: models.Model = {
    ...plain,
    head: {
      ...plain.head,
      fc: nn.sequential({ fc: nn.linear({ in: 8, out: 5 }), last: nn.linear({ in: 5, out: 3 }) }),
    },
  };
  await refused(rank, () => make({ device, batch: odd ? 8 : 16 }), false);
  const trainer = await make({ device, ...(how === "programs" && odd ? { model: other } : {}) });
  /** Changes a bias, in process 0 alone. */
  const spoil: Observer = {
    step({ step }) {
      if (step < 3) return; // the last of the epoch
      for (const array of treeLeaves<DeviceArray>(trainer.variables.params)) {
        if (array.size === 3) array.write(new HostArray(new Float32Array(3).fill(7)));
      }
    },
  };
  const observers = how === "bits" ? [spoil] : [];
  if (how === "load" && odd) {
    const { tensors } = await trainer.snapshot();
    const own = new Set([...tensors.keys()].filter((name) => !/^(local|optimizer)\./.test(name)));
    trainer.load({ name: "values", tensors: new Map([...tensors].filter(([name]) => own.has(name))) });
  }
  const epochs = how === "epochs" && odd ? 3 : 2;
  await refused(rank, () => trainer.fit(tinyDataset(40, 20), { epochs, observers }));
}
