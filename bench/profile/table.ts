/** Profiles as text. */

import { textTable } from "../../src/cli/terminal.ts";
import { type Group, grouped, type Profile } from "./profile.ts";

/** Shapes listed one by one. */
const LISTED = 20;

/** A profile's classes, and the shapes that take the most time. */
export function profileTable({ plan, whole, idle, repeats, passes, steps }: Profile): string {
  const apart = steps.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const name = (group: Group) =>
    group.way === "" || group.way === group.class ? group.class : `${group.class}: ${group.way}`;
  const table = (head: string, groups: readonly Group[], first: (group: Group) => string) =>
    textTable(
      [head, "steps", "launches", "ms", "share", "GFLOP/s", "GB/s"],
      groups.map((group) => [
        first(group),
        `${group.steps}`,
        `${group.launches}`,
        ms(group.milliseconds),
        `${(100 * group.share).toFixed(1)} %`,
        rate(group.gflops),
        rate(group.gigabytesPerSecond),
      ]),
    );
  return [
    `${plan}: ${steps.length} steps; each launch alone adds up to ${ms(apart)} ms, the plan as usual takes ` +
    `${ms(whole)} ms; fastest of ${passes} passes`,
    ...(repeats === 1 ? [] : [
      `each launch is issued ${repeats} times in a row; up to ${
        ms(idle / repeats)
      } ms of its time is waiting`,
    ]),
    "",
    table("class: way", grouped(steps), name),
    "",
    table("class: shapes", grouped(steps, true).slice(0, LISTED), (group) => `${group.class}: ${group.what}`),
  ].join("\n");
}

const ms = (milliseconds: number) => milliseconds.toFixed(milliseconds < 1 ? 3 : 2);
const rate = (value: number) => Number.isFinite(value) ? value.toFixed(value < 10 ? 1 : 0) : "–";
