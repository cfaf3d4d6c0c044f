/** Prints the facts of the card, its libraries and the machine as one line of JSON; fails if there is no card. */
import { cudaReport } from "../../ffi/doctor.ts";
import { openLibraries } from "../../ffi/library.ts";
import { say } from "./opener.ts";

const { cards, libraries, problem } = cudaReport(openLibraries());
const [card] = cards;
if (card === undefined) {
  throw new Error(`no card: ${problem ?? libraries.find(({ problem }) => problem)?.problem}`);
}
const git = await new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"] }).output().catch(() =>
  undefined
);
say({
  card: card.name,
  architecture: card.architecture,
  cardBytes: card.totalBytes,
  libraries: Object.fromEntries(libraries.map(({ name, version }) => [name, version ?? "none"])),
  commit: git?.success ? new TextDecoder().decode(git.stdout).trim() : "unknown",
  deno: Deno.version.deno,
  os: `${Deno.build.os} ${Deno.osRelease()}`,
  cores: navigator.hardwareConcurrency,
});
