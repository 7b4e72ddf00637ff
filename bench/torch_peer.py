"""What `bench/exchange.py --torch PYTHON` measures us against: PyTorch's DistributedDataParallel over gloo.

Needs nothing but torch. The same networks, rows a step, random batches and optimizer, one thread a worker.
"""

import json
import sys
import time

import torch
from torch import distributed, nn

SHAPES = {"mlp": (784,), "lenet": (1, 28, 28), "large": (784,)}


def mlp():
    """Return 784-1024-1024-10."""
    return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))


def lenet():
    """Return the convolutional network of `loop.lenet`."""
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )


def large():
    """Return 784-4096-4096-1024-10."""
    wide = [nn.Linear(784, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*wide, nn.Linear(4096, 1024), nn.ReLU(), nn.Linear(1024, 10))


def worker(name, rows, *, warm_steps, steps, rank, workers, meeting_file):
    """Print rows per second."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo", init_method=f"file://{meeting_file}", rank=rank, world_size=workers)
    net = nn.parallel.DistributedDataParallel({"mlp": mlp, "lenet": lenet, "large": large}[name]())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    batches = [(torch.rand(rows, *SHAPES[name]), torch.randint(0, 10, (rows,))) for _ in range(8)]
    for number in range(warm_steps + steps):
        if number == warm_steps:
            start = time.monotonic()
        pixels, labels = batches[number % 8]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net(pixels), labels)
        loss.backward()
        optimizer.step()
        loss.item()
    print(json.dumps(steps * rows / (time.monotonic() - start)), flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    numbers = dict(zip(("rows", "warm_steps", "steps", "rank", "workers"), map(int, sys.argv[2:7])))
    worker(sys.argv[1], **numbers, meeting_file=sys.argv[7])
