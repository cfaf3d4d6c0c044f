/** Failures of NCCL, and what its stand-in refuses, between two processes with a simulated card each. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import type { Driver } from "../../../ffi/driver.ts";
import { openLibraries } from "../../../ffi/library.ts";
import { outU64 } from "../../../ffi/memory.ts";
import { joinNccl, type Nccl, ncclOp, ncclStatus, ncclType, ncclUniqueId } from "../../../ffi/nccl.ts";
import { openNccl } from "../../../ffi/nccl_library.ts";
import { LibraryError } from "../../../ffi/status.ts";
import { allReduce, devices, jit, LocalgradError, receive, send, type Tensor } from "../../../mod.ts";
import { joinWorld } from "../../../src/backends/mpi/world.ts";
import { failSimulated, reportOfSimulated } from "../../cuda/sim_report.ts";
import { report } from "../report.ts";

const world = joinWorld({ timeLimit: 30 });
const { rank, communicator } = world;
const open = () => devices.open("cuda", { communicators: { world: communicator } });
const sum = (x: Tensor) => allReduce(x, { group: "world" });

// Without NCCL the device says what to install; with it, its own failures are told, and nothing is left.
const library = Deno.env.get("LOCALGRAD_LIBNCCL") ?? "";
Deno.env.set("LOCALGRAD_LIBNCCL", "/gone");
const { message } = await assertRejects(open, LocalgradError, "several processes on cuda need NCCL");
assertStringIncludes(message, "pip install nvidia-nccl-cu13");
Deno.env.set("LOCALGRAD_LIBNCCL", library);
{
  await using device = await devices.open("cuda"); // the simulated device is there
  assertEquals(device.name, "cuda");
}
failSimulated("nccl-init");
await assertRejects(open, LocalgradError, "NCCL: joining process");
assertEquals(reportOfSimulated(), "");
{
  const device = await open();
  failSimulated("nccl");
  const f = jit(sum, { device, name: "f" });
  assertThrows(() => f(device.array([1])), LibraryError, 'NCCL: allReduce in the group "world" of f failed');
  await device.close();
  assertEquals(reportOfSimulated(), "");
}

// A process that is lost while another waits for it: NCCL tells late, and nothing waits for ever.
communicator.barrier();
{
  const device = await open();
  if (rank === 0) {
    const f = jit(sum, { device });
    const x = device.array([1]);
    const lost = f(x);
    failSimulated("nccl-async");
    await assertRejects(
      () => lost.read(),
      LocalgradError,
      "NCCL: exchanging data in world failed with ncclRemoteError",
    );
    assertThrows(() => f(x), LocalgradError, "ncclRemoteError");
    await assertRejects(() => device.finish(), LocalgradError, "ncclRemoteError");
  }
  communicator.barrier();
  await device.close();
  assertEquals(reportOfSimulated(), "");
}

// After an error, a process that gives up on the others closes its device at once, whatever it waits for.
{
  let abandoned = false;
  const device = await devices.open("cuda", {
    communicators: {
      world: {
        ...{ rank, size: 2 },
        get abandoned() {
          return abandoned;
        },
        allReduce: (...args) => communicator.allReduce(...args),
        broadcast: (...args) => communicator.broadcast(...args),
        send: (...args) => communicator.send(...args),
        receive: (...args) => communicator.receive(...args),
      },
    },
  });
  const both = jit((x: Tensor) => {
    send(x, { group: "world", to: 1 - rank });
    return rank === 0 ? receive({ shape: [1], dtype: "f32" }, { group: "world", from: 1 }) : x.neg();
  }, { device });
  const x = device.array([1]);
  const arrived = both(x); // process 1 never receives
  if (rank === 0) assertEquals([...await arrived.read()], [1]);
  communicator.barrier();
  abandoned = true;
  assertThrows(() => both(x), LocalgradError, "an error has ended the work of these processes");
  await device.close();
  assertEquals(reportOfSimulated(), "");
}

// What the stand-in itself refuses.
const { driver, close } = openLibraries({ needDriver: true }) as { driver: Driver; close(): void };
const { nccl } = openNccl() as { nccl: Nccl };
const out = outU64();
const made = (status: number): bigint => {
  assertEquals(status, 0);
  return out.value;
};
const { ncclInvalidArgument, ncclInvalidUsage, ncclUnhandledCudaError, ncclSuccess } = ncclStatus;
const { ncclFloat32: f32, ncclInt32: i32 } = ncclType;
driver.cuInit(0);
assertThrows(() => joinNccl(nccl, ncclUniqueId(nccl), 1, 0), LibraryError, "no context is current");
driver.cuCtxSetCurrent(made(driver.cuDevicePrimaryCtxRetain(out.buffer, 0)));
const shared = () => {
  const id = rank === 0 ? ncclUniqueId(nccl) : new Uint8Array(128);
  communicator.broadcast(id, 0).wait();
  return id;
};
assertThrows(() => joinNccl(nccl, new Uint8Array(128), 2, rank), LibraryError, "this is no id");
const comm = joinNccl(nccl, shared(), 2, rank);
const stream = made(driver.cuStreamCreate(out.buffer, 1));
const memory = made(driver.cuMemAlloc_v2(out.buffer, 64n));
const reduce = (handle: bigint, address: bigint, count: bigint, type: number) =>
  nccl.ncclAllReduce(address, address, count, type, ncclOp.ncclSum, handle, stream);
assertEquals(reduce(1n, memory, 4n, f32), ncclInvalidArgument); // no communicator
assertEquals(reduce(comm, memory, 32n, f32), ncclInvalidArgument); // beyond the memory
assertEquals(reduce(comm, memory, 4n, 99), ncclInvalidArgument); // no such type
assertEquals(nccl.ncclBroadcast(memory, memory, 4n, f32, 2, comm, stream), ncclInvalidArgument); // no such root
assertEquals(nccl.ncclSend(memory, 4n, f32, rank, comm, stream), ncclInvalidUsage); // to itself
assertEquals(reduce(comm, memory, 4n, f32), ncclSuccess);
assertEquals(driver.cuStreamSynchronize(stream), 0);
assertEquals(nccl.ncclCommFinalize(comm), ncclSuccess);
assertEquals(reduce(comm, memory, 4n, f32), ncclInvalidUsage);
assertEquals(nccl.ncclCommDestroy(comm), ncclSuccess);
assertEquals(reduce(comm, memory, 4n, f32), ncclInvalidArgument);

/** The faults that are reported after an operation that does not match the other process's, or what came before. */
function faultsOf(body: (comm: bigint) => void): string {
  const comm = joinNccl(nccl, shared(), 2, rank);
  body(comm);
  communicator.barrier(); // both have seen the other's
  nccl.ncclCommAbort(comm);
  return reportOfSimulated();
}
const mismatch = (operation: (comm: bigint) => number) =>
  faultsOf((comm) => {
    assertEquals(operation(comm), ncclSuccess);
    assert(driver.cuStreamSynchronize(stream) !== 0);
  });
const each = (zero: (comm: bigint) => number, one: (comm: bigint) => number) =>
  mismatch(rank === 0 ? zero : one);
assertStringIncludes(
  each((comm) => reduce(comm, memory, 4n, f32), (comm) => reduce(comm, memory, 8n, f32)),
  "NCCL: process",
);
assertStringIncludes(
  each((comm) => reduce(comm, memory, 4n, f32), (comm) => reduce(comm, memory, 4n, i32)),
  "NCCL: process",
);
const broadcast = (comm: bigint, root: number) =>
  nccl.ncclBroadcast(memory, memory, 4n, f32, root, comm, stream);
assertStringIncludes(
  each((comm) => broadcast(comm, 0), (comm) => broadcast(comm, 1)),
  "calls broadcast of 4",
);
assertStringIncludes(each((comm) => broadcast(comm, 0), (comm) => reduce(comm, memory, 4n, f32)), "calls");
const other = made(driver.cuStreamCreate(out.buffer, 1));
assertStringIncludes(
  faultsOf((comm) => {
    const [first, second] = [stream, other];
    nccl.ncclAllReduce(memory, memory, 4n, f32, ncclOp.ncclSum, comm, first);
    nccl.ncclAllReduce(memory, memory, 4n, f32, ncclOp.ncclSum, comm, second);
  }),
  "a communicator is used on two streams",
);
const captured = faultsOf((comm) => {
  assertEquals(driver.cuStreamBeginCapture_v2(stream, 1), 0);
  assertEquals(reduce(comm, memory, 4n, f32), ncclSuccess);
  const event = made(driver.cuEventCreate(out.buffer, 2));
  driver.cuEventRecord(event, stream);
  driver.cuStreamWaitEvent(other, event, 0); // a branch that is not joined
  assertEquals(driver.cuStreamEndCapture(stream, out.buffer), 904);
  driver.cuEventDestroy_v2(event);
});
assertStringIncludes(captured, "the first operation of a communicator was captured");
assertEquals(nccl.ncclAllReduce(0n, 0n, 4n, f32, 0, 0n, 0n), ncclInvalidArgument);
assert(ncclUnhandledCudaError === 1);
driver.cuStreamDestroy_v2(stream);
driver.cuStreamDestroy_v2(other);
driver.cuMemFree_v2(memory);
driver.cuDevicePrimaryCtxRelease_v2(0);
assertEquals(reportOfSimulated(), "");
close();
report(rank, "done");
world.leave();
