"""PyTorch's DistributedDataParallel (gloo) on the end-to-end step of ResNet-32, timed as parallel.ts does for ours:

ddp.py <processes> <mode> <batch> [<warmup> <steps>]

The first process starts the others on this machine. Each has one thread and its share of the batch; one process is
PyTorch without DistributedDataParallel. `mode` is nchw or channels_last.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "pytorch"))
import nets  # noqa: E402

torch.set_num_threads(1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_others(processes):
    """Starts the other processes; all join the group."""
    if "RANK" not in os.environ:
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "WORLD_SIZE": str(processes),
            "OMP_NUM_THREADS": "1",
        }
        for rank in range(1, processes):
            subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {"RANK": str(rank)}, stdin=subprocess.DEVNULL)
        os.environ["RANK"] = "0"
    dist.init_process_group("gloo")
    return dist.get_rank()


def prepare(processes, mode, batch, rank):
    layout = torch.contiguous_format if mode == "nchw" else torch.channels_last
    names = nets.ResNet("resnet32", 10).block_names()
    model = nets.Step("resnet32", 10, [names]).net.to(memory_format=layout)
    if processes > 1:
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=nets.LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    x, labels = nets.batch(batch, 32, 10)
    share = slice(rank * batch // processes, (rank + 1) * batch // processes)
    x, labels = x[share].to(memory_format=layout), labels[share]

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def turns(turn, rank, processes):
    """The turns, which the first process reads and tells the others."""
    lines = iter([" ".join(turn)] if turn else sys.stdin) if rank == 0 else None
    while True:
        told = torch.zeros(2, dtype=torch.int64)
        if rank == 0 and (line := next(lines, None)) is not None:
            told = torch.tensor([int(word) for word in line.split()])
        if processes > 1:
            dist.broadcast(told, 0)
        if told[1] == 0:
            return
        yield told.tolist()


def main():
    processes, mode, batch, *turn = sys.argv[1:]
    processes = int(processes)
    rank = start_others(processes) if processes > 1 else 0
    step = prepare(processes, mode, int(batch), rank)
    first = None
    for warmup, steps in turns(turn, rank, processes):
        for i in range(warmup + steps):
            if i == warmup:
                began = time.perf_counter()
            start = time.perf_counter()
            loss = step()
            first = first or (loss, (time.perf_counter() - start) * 1000)
        mean = torch.tensor((time.perf_counter() - began) * 1000 / steps, dtype=torch.float64)
        if processes > 1:
            dist.all_reduce(mean, dist.ReduceOp.MAX)
        if rank > 0:
            continue
        way = "1 × 1" if processes == 1 else f"DDP gloo {processes} × 1"
        timing = {
            "system": f"PyTorch {torch.__version__.split('+')[0]}, {mode}, {way}",
            "milliseconds": [mean.item()],
            "losses": [first[0], loss],
            "first": first[1],
        }
        print(json.dumps(timing), flush=True)
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
