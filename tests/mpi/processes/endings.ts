/** Process 1 ends, or fails, as its argument says; the others wait for it. */
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { LocalgradError } from "../../../src/base/errors.ts";
import { writeWhole } from "../../../src/base/files.ts";
import { report } from "../report.ts";

const [how] = Deno.args;

/** The message of a user's error. */
function messageOf(f: () => void): string {
  try {
    f();
  } catch (error) {
    if (error instanceof LocalgradError) return error.message;
    throw error;
  }
  return "no error";
}

const world = joinWorld({ timeLimit: how === "unequal" || how === "alone" ? 1 : 20 });
const { rank, communicator } = world;
const data = new Uint8Array(8);
/** Bytes of a file that takes a while to be written. */
const LONG = 2 ** 25;

switch (how) {
  case "unequal": // one process makes a call more than the other
    if (rank === 0) report(0, messageOf(() => communicator.allReduce(data, "f32", "sum").wait()));
    else report(1, messageOf(() => communicator.receive(data, 0, 5).wait()));
    break;
  case "lengths":
    if (rank === 0) {
      communicator.send(data, 1, 1).wait();
      communicator.send(data, 1, 2).wait();
    } else {
      report(1, [
        messageOf(() => communicator.receive(new Uint8Array(4), 0, 1).wait()),
        messageOf(() => communicator.receive(new Uint8Array(12), 0, 2).wait()),
      ]);
    }
    world.leave();
    break;
  case "arguments": {
    const messages = [
      messageOf(() => communicator.allReduce(new Uint8Array(5), "f32", "sum")),
      messageOf(() => communicator.broadcast(data, 2)),
      messageOf(() => communicator.send(data, -1, 0)),
      messageOf(() => communicator.receive(data, 0, 32768)),
      messageOf(() => world.split("data", -1)),
      messageOf(() => joinWorld()),
    ];
    const pending = communicator.receive(data, rank, 3);
    messages.push(messageOf(() => world.leave()));
    communicator.send(data, rank, 3).wait();
    pending.wait();
    world.leave();
    messages.push(messageOf(() => joinWorld()));
    report(rank, messages);
    break;
  }
  case "saving": { // one process is killed while a file is written, the others wait
    const folder = Deno.args[1] ?? "";
    if (rank === 1) {
      await writeWhole(`${folder}/last`, new Uint8Array(LONG).fill(1));
      setInterval(() => {
        const sizes = [...Deno.readDirSync(folder)].map(({ name }) =>
          Deno.statSync(`${folder}/${name}`).size
        );
        if (sizes.some((size) => size < LONG)) Deno.kill(Deno.pid, "SIGKILL");
      }, 1);
      for (let i = 2; i < 10; i++) await writeWhole(`${folder}/last`, new Uint8Array(LONG).fill(i));
      report(rank, "was never seen writing");
    } else communicator.allReduce(data, "f32", "sum").wait();
    break;
  }
  default:
    communicator.allReduce(data, "f32", "sum").wait();
    if (rank === 1) {
      if (how === "kill") Deno.kill(Deno.pid, "SIGKILL");
      if (how === "alone") Deno.kill(Deno.pid, Deno.args[1] as Deno.Signal);
      if (how === "exit") Deno.exit(0);
      if (how === "code") Deno.exit(3);
      if (how === "throw") throw new Error("this one failed");
      if (how === "end") break;
    }
    communicator.allReduce(data, "f32", "sum").wait();
    report(rank, "not reached");
}
