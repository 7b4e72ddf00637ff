"""What does exchanging gradients cost? Ratios of one run, in rounds that take turns.

    python bench/exchange.py [--rounds 3] [--only NAME ...] [--torch PYTHON] [--json FILE]

Workers have one thread and 64 rows a step (the large network 8), SGD with momentum, random batches. `ours` is the
hierarchical exchange with our update. `stock` is MXNet as it comes: ps-lite over TCP, `gluon.Trainer`, a server a
worker. `alone` is our loop without any exchange, every worker updating everything. `torch` is PyTorch's
DistributedDataParallel over gloo, where a Python that has torch is given. Memory (the peak of the sum of PSS, in that
of `stock`) is looked at in a run of its own, as looking takes time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "mx"), str(ROOT / "bench")]

import loop  # noqa: E402
import psutil  # noqa: E402

from mxspark.system.ports import free_ports  # noqa: E402

STEPS = {"mlp": 200, "lenet": 100, "large": 40}
ROWS = {"mlp": 64, "lenet": 64, "large": 8}
loop.SHAPES["large"] = (784,)
loop.STEPS.update(STEPS)


@dataclass(frozen=True)
class Case:
    """One question: a network, how many workers on how many pretended hosts, and the bars against others."""

    network: str
    workers: int
    hosts: int
    bars: dict[str, float]


CASES = {
    "mlp": Case("mlp", 2, 1, {"alone": 1.0, "stock": 3.3, "torch": 2.0}),
    "lenet": Case("lenet", 2, 1, {"alone": 0.99, "stock": 1.5, "torch": 1.2}),
    "large": Case("large", 2, 1, {"alone": 1.15, "stock": 5.0, "torch": 3.0}),
    "mlp x4": Case("mlp", 4, 1, {"alone": 1.03, "stock": 3.0}),
    "lenet x4": Case("lenet", 4, 1, {"stock": 1.3}),
    "mlp 2 hosts x2": Case("mlp", 4, 2, {"stock": 1.5}),
}


def large():
    """Return 784-4096-4096-1024-10, 24 M parameters: with few rows, mostly exchange."""
    from mxnet.gluon import nn

    net = nn.HybridSequential()
    net.add(nn.Dense(4096, activation="relu"), nn.Dense(4096, activation="relu"), nn.Dense(1024, activation="relu"))
    net.add(nn.Dense(10))
    return net


loop.large = large


def ours(name, workers, exchanging):
    """Train with our exchange and update, without data, metrics and events; `exchanging` False is the limit."""
    from mxspark.mx.runtime.importing import import_mxnet

    mx = import_mxnet()
    from mxnet import autograd

    from mxspark.job.spec import BestBy, Component, Function, TrainingSpec
    from mxspark.mx.exchange.hierarchical import HierarchicalExchange
    from mxspark.mx.model import network
    from mxspark.mx.state.optimizer import Updater
    from mxspark.protocol import codec
    from mxspark.protocol.specs import INHERITED, Inherited

    given = codec.decode(Inherited, json.loads(os.environ[INHERITED]))
    exchange = HierarchicalExchange(int(os.environ["TEST_RANK"]), workers, given, has_store="DMLC_ROLE" in os.environ)
    loss, sgd, xavier = Component("softmax_cross_entropy"), Component("sgd", loop.OPTIONS), Component("xavier")
    training = TrainingSpec(
        Function(name, f"exchange:{name}"), loss, sgd, None, xavier, (), BestBy("loss", "validation", "min"), 1, 0
    )
    made = network.prepare(training, [(ROWS[name], *loop.SHAPES[name])])
    parameters = tuple(made.parameters.values())
    updater = Updater(training.optimizer, None, parameters)
    if exchanging:
        exchange.begin(parameters, updater)
    waited, meet = [0.0], exchange._peers.meet

    def counted():
        start = time.thread_time()
        meet()
        waited[0] += time.thread_time() - start

    exchange._peers.meet = counted

    def step(pixels, labels):
        with autograd.record():
            loss = made.loss(made.block(pixels), labels)
        loss.backward()
        if exchanging:
            exchange.step(ROWS[name] * workers)
        else:
            updater.update(ROWS[name] * workers)
        return loss

    loop.timed(step, name, ROWS[name])
    mx.nd.waitall()
    print(json.dumps(waited[0] / time.process_time()), flush=True)
    exchange.close()


mlp, lenet = loop.mlp, loop.lenet


def worker():
    """Run the worker that the environment describes."""
    kind, name, workers = os.environ["BENCH"].split()
    if kind == "stock":
        loop.stock(name, ROWS[name], int(workers))
    else:
        ours(name, int(workers), kind == "ours")
    sys.stdout.flush()
    os._exit(0)


class Memory(threading.Thread):
    """The largest sum of PSS of the processes this one started."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self._told = 0, threading.Event()

    def run(self):
        """Look every now and then."""
        while not self._told.wait(0.3):
            total = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    total += child.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)

    def stop(self):
        """Return the peak in bytes."""
        self._told.set()
        self.join()
        return self.peak


def measure_stock(name, workers):
    """Return rows per second a worker of MXNet as it comes."""
    group = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(free_ports("127.0.0.1", 1)[0]),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(workers),
        "DMLC_NODE_HOST": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT / "bench"), str(ROOT)]),
        "BENCH": f"stock {name} {workers}",
    }
    others, processes = [], []
    try:
        for role in ["scheduler"] + ["server"] * workers:
            others.append(subprocess.Popen([sys.executable, "-c", "import mxnet"], env={**group, "DMLC_ROLE": role}))
        command = [sys.executable, "-W", "ignore", "-c", "import exchange; exchange.worker()"]
        for _ in range(workers):
            env = {**group, "DMLC_ROLE": "worker"}
            processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        said = [process.communicate(timeout=300)[0] for process in processes]
        return statistics.mean(json.loads(text.splitlines()[0]) for text in said)
    finally:
        for process in processes + others:
            process.kill()
            process.wait()


def measure_ours(kind, name, workers, hosts, folder):
    """Return rows per second a worker, and the share of its CPU time spent in meetings."""
    from role_harness import Group

    environment = {"BENCH": f"{kind} {name} {workers}"}
    logs = folder / f"{kind}-{time.monotonic_ns()}"
    with Group(workers, logs, hosts, 1, "exchange:worker", environment, hosts=hosts) as group:
        for process in group.workers:
            process.wait(300)
        said = [[json.loads(line) for line in log.read_text().splitlines()[-2:]] for log in group.logs]
    return statistics.mean(rate for rate, _ in said), max(share for _, share in said)


def measure_torch(python, name, workers, folder):
    """Return rows per second a worker of DistributedDataParallel."""
    meeting_file = folder / f"torch-{time.monotonic_ns()}"
    numbers = (ROWS[name], loop.WARM_STEPS, STEPS[name])
    processes = []
    try:
        for rank in range(workers):
            command = [python, ROOT / "bench" / "torch_peer.py", name, *numbers, rank, workers, meeting_file]
            env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
            processes.append(subprocess.Popen([*map(str, command)], env=env, stdout=subprocess.PIPE, text=True))
        return statistics.mean(json.loads(process.communicate(timeout=300)[0]) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_other(against, case, folder, python):
    """Measure what we are compared with."""
    if against == "stock":
        return measure_stock(case.network, case.workers)
    if against == "torch":
        return measure_torch(python, case.network, case.workers, folder)
    return measure_ours("alone", case.network, case.workers, 1, folder)[0]


def run_case(case, folder, python):
    """Measure one case once."""
    rate, share = measure_ours("ours", case.network, case.workers, case.hosts, folder)
    others = [against for against in case.bars if python or against != "torch"]
    rates = {against: measure_other(against, case, folder, python) for against in others}
    ratios = {f"to {against}": rate / other for against, other in rates.items()}
    return {"ours": rate, **rates, **ratios, "waiting": share}


def compare_memory(case, folder):
    """Return the peak memory of our job in that of stock."""
    memory = Memory()
    memory.start()
    measure_ours("ours", case.network, case.workers, case.hosts, folder)
    used = memory.stop()
    memory = Memory()
    memory.start()
    measure_stock(case.network, case.workers)
    return used / memory.stop()


def summarise(name, rounds, memory):
    """Return the medians of what was seen, of each round's ratios too, and which bars they meet."""
    median = {key: statistics.median(seen[key] for seen in rounds) for key in rounds[0]}
    bars = {f"to {against}": bar for against, bar in CASES[name].bars.items() if f"to {against}" in median}
    met = {key: median[key] >= bar for key, bar in bars.items()}
    return {"case": name, **median, "memory": memory, "bars": bars, "met": met}


def main():
    """Print and perhaps write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with torch, to be a peer in the same rounds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds = {name: [] for name in arguments.only}
    with tempfile.TemporaryDirectory(prefix="mxspark-bench-") as scratch:
        memory = {name: compare_memory(CASES[name], Path(scratch)) for name in rounds}
        for number in range(arguments.rounds):
            for name in rounds:
                seen = run_case(CASES[name], Path(scratch), arguments.torch)
                rounds[name].append(seen)
                words = "  ".join(f"{key} {value:,.4g}" for key, value in seen.items())
                print(f"round {number + 1} {name:14} {words}", flush=True)
    results = [summarise(name, seen, memory[name]) for name, seen in rounds.items()]
    for result in results:
        words = "  ".join(f"{key} {result[key]:.2f} (bar {bar})" for key, bar in result["bars"].items())
        print(f"{result['case']:14} {words}  CPU in meetings {result['waiting']:.2%}  memory {result['memory']:.2f}")
    print(json.dumps(results))
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
