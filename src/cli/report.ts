import { LocalgradError } from "../base/errors.ts";
import { writeWhole } from "../base/files.ts";
import { readReport, report } from "../train.ts";
import { type Flags, parseFlags } from "./flags/flags.ts";
import { print } from "./terminal.ts";

/** Flags of `report`. */
export const reportFlags = {
  out: { value: "FILE", help: "page to write; default report.html in the run's folder" },
} as const satisfies Flags;

/** Arguments of `report` other than flags. */
export const reportOperands = "RUN";

/** `report`: writes the report of a run again, from what is on disk. */
export async function writeReport(args: readonly string[]): Promise<void> {
  const folders: string[] = [];
  const given = parseFlags("report", reportFlags, args, folders);
  const [folder, ...others] = folders;
  if (folder === undefined) {
    throw new LocalgradError("report needs the folder of a run: deno task report RUN");
  }
  if (others.length > 0) {
    throw new LocalgradError("report writes the page of one run; deno task compare takes several");
  }
  const run = await readReport(folder);
  const out = given.out ?? `${folder}/report.html`;
  await writeWhole(out, report([run]));
  print(`${out}: the report of ${folder}`);
}
