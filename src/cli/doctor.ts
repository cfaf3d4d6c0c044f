import {
  cudaReport,
  describeCuda,
  describeMpi,
  describeNccl,
  describeOnednn,
  type MemoryNeed,
} from "../../ffi/doctor.ts";
import { openMpiLibrary } from "../../ffi/mpi_library.ts";
import { openNccl } from "../../ffi/nccl_library.ts";
import { openOnednn } from "../../ffi/onednn_library.ts";
import * as local from "../local.ts";
import { resnet32 } from "../models/resnet.ts";
import { sgd } from "../optim/sgd.ts";
import { defaultThreads } from "../backends/cpu/thread_count.ts";
import * as devices from "../runtime/devices.ts";
import { type Flags, parseFlags } from "./flags/flags.ts";
import { print } from "./terminal.ts";

/** Flags of `doctor`. */
export const doctorFlags = {
  json: { help: "print the result as JSON" },
} as const satisfies Flags;

/** The planned memory of an ordinary training step on a card. */
async function exampleNeed(): Promise<MemoryNeed> {
  const setup = local.setup({
    model: resnet32(),
    modules: 16,
    method: local.man(local.dgl()),
    optimizer: sgd({ momentum: 0.9 }),
  });
  const { peakBytes } = local.stepMemory(setup, 128, await devices.target("cuda"));
  return { what: "man+dgl on ResNet-32, K = 16, batch 128,", bytes: peakBytes };
}

/** `doctor`: reports which backends run on this machine, and what the others are missing. */
export async function doctor(args: readonly string[]): Promise<void> {
  const given = parseFlags("doctor", doctorFlags, args);
  const backends = await Array.fromAsync(
    devices.names,
    async (name) => ({ name, ...await devices.probe(name) }),
  );
  const device = await devices.open("auto");
  const auto = { name: device.name, why: device.choice };
  await device.close();
  const cuda = cudaReport(undefined, await exampleNeed());
  const { report: onednn } = openOnednn();
  const { report: mpi } = openMpiLibrary();
  const { report: nccl } = openNccl();
  const { os, arch } = Deno.build;
  const { threads, from } = defaultThreads();
  const cores = navigator.hardwareConcurrency;
  const system = { deno: Deno.version.deno, os, arch, cores, threads };
  if (given.json) {
    print(JSON.stringify({ ...system, backends, onednn, cuda, mpi, nccl, auto }));
    return;
  }
  const set = from === undefined ? "" : `, as ${from} says`;
  print(
    `Deno ${system.deno} on ${os} ${arch}, ${cores} cores; the CPU backend takes ${threads} ${
      threads === 1 ? "thread" : "threads"
    }${set}\n`,
  );
  for (const backend of backends) {
    const name = backend.name.padEnd(10);
    if ("reason" in backend) {
      print(`✗ ${name} ${backend.reason}\n  ${" ".repeat(10)} ${backend.remedy}`);
    } else {
      print(`✓ ${name} ${backend.description}${backend.software ? " (a software adapter)" : ""}`);
    }
  }
  print(`\nCPU libraries\n${describeOnednn(onednn).join("\n")}`);
  print(`\nCUDA\n${describeCuda(cuda).join("\n")}`);
  print(`\nSeveral processes\n${[...describeMpi(mpi), ...describeNccl(nccl)].join("\n")}`);
  print(`\nauto picks ${auto.why}`);
}
