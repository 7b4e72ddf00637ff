"""How fast is a worker's loop? Ratios against MXNet as it comes, in rounds that take turns.

    python bench/loop.py [--rounds 3] [--json FILE]

two workers   our transport, settings and kernels against stock ps-lite over TCP and gluon.Trainer: 1 thread and
              64 rows a step each, SGD with momentum, the same network on the same random batches    bars 1.45, 1.07
role          the whole role (spooled rows, metrics, events) against that bare loop of ours
one worker    the whole role with 2 threads and 128 rows a step against plain Gluon                  bar 1.0
waiting       share of the role's time spent waiting for data                                        bar < 1 %
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "mx")]

from mxspark.protocol import events  # noqa: E402
from mxspark.system.ports import free_ports  # noqa: E402

SHAPES = {"mlp": (784,), "lenet": (1, 28, 28)}
STEPS = {"mlp": 300, "lenet": 120}
BARS = {"mlp": 1.45, "lenet": 1.07}
WARM_STEPS = 30
OPTIONS = {"learning_rate": 0.01, "momentum": 0.9}


def mlp():
    """Return 784-1024-1024-10, 1.86 M parameters."""
    from mxnet.gluon import nn

    net = nn.HybridSequential()
    net.add(nn.Dense(1024, activation="relu"), nn.Dense(1024, activation="relu"), nn.Dense(10))
    return net


def lenet():
    """Return the convolutional network of LeCun et al. in MXNet's size, 0.43 M parameters."""
    from mxnet.gluon import nn

    net = nn.HybridSequential()
    net.add(nn.Conv2D(20, 5, activation="relu"), nn.MaxPool2D(2, 2), nn.Conv2D(50, 5, activation="relu"))
    net.add(nn.MaxPool2D(2, 2), nn.Flatten(), nn.Dense(500, activation="relu"), nn.Dense(10))
    return net


def random_rows(name, rows):
    """Return random pictures and labels."""
    rng = np.random.default_rng(0)
    pixels = rng.random((rows, *SHAPES[name]), dtype=np.float32)
    return {"pixels": pixels, "digit": rng.integers(0, 10, rows).astype(np.int32)}


def timed(step, name, rows):
    """Print rows per second of `step` after warming up."""
    import mxnet as mx

    arrays = random_rows(name, 8 * rows)
    batches = [
        (mx.nd.array(arrays["pixels"][a : a + rows]), mx.nd.array(arrays["digit"][a : a + rows]))
        for a in range(0, 8 * rows, rows)
    ]
    before = None
    for number in range(WARM_STEPS + STEPS[name]):
        if number == WARM_STEPS:
            mx.nd.waitall()
            start = time.monotonic()
        loss = step(*batches[number % 8])
        if before is not None:
            before.asnumpy()
        before = loss
    mx.nd.waitall()
    print(json.dumps(STEPS[name] * rows / (time.monotonic() - start)), flush=True)


def stock(name, rows, workers):
    """Train as MXNet's documentation does, with the store if there are several workers."""
    import mxnet as mx
    from mxnet import autograd, gluon

    store = mx.kv.create("dist_sync") if workers > 1 else None
    net = globals()[name]()
    net.initialize(mx.init.Xavier())
    net.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    with autograd.record():  # gives the parameters their shapes
        net(mx.nd.zeros((rows, *SHAPES[name])))
    options = {"kvstore": store, "update_on_kvstore": False} if store else {}
    trainer = gluon.Trainer(net.collect_params(), "sgd", dict(OPTIONS), **options)

    def step(pixels, labels):
        with autograd.record():
            loss = loss_of(net(pixels), labels)
        loss.backward()
        trainer.step(rows * workers)
        return loss

    timed(step, name, rows)


def bare(name, rows, workers):
    """Train with our exchange and update, without data, metrics and events."""
    from mxspark.mx.runtime.importing import import_mxnet

    import_mxnet()
    from mxnet import autograd

    from mxspark.job.spec import BestBy, Component, Function, TrainingSpec
    from mxspark.mx.exchange.kvstore import KVStoreExchange
    from mxspark.mx.model import network
    from mxspark.mx.state.optimizer import Updater

    exchange = KVStoreExchange(int(os.environ["TEST_RANK"]), workers)
    loss, sgd, xavier = Component("softmax_cross_entropy"), Component("sgd", OPTIONS), Component("xavier")
    training = TrainingSpec(
        Function(name, f"loop:{name}"), loss, sgd, None, xavier, (), BestBy("loss", "validation", "min"), 1, 0
    )
    made = network.prepare(training, [(rows, *SHAPES[name])])
    parameters = tuple(made.parameters.values())
    updater = Updater(training.optimizer, None, parameters)
    exchange.begin(parameters, updater)

    def step(pixels, labels):
        with autograd.record():
            loss = made.loss(made.block(pixels), labels)
        loss.backward()
        exchange.step(rows * workers)
        return loss

    timed(step, name, rows)
    exchange.close()


def worker():
    """Run the worker that the environment describes."""
    kind, name, rows, workers = os.environ["BENCH"].split()
    {"stock": stock, "bare": bare}[kind](name, int(rows), int(workers))
    sys.stdout.flush()
    os._exit(0)


def measure_stock(name, rows, workers, threads):
    """Return rows per second a worker of MXNet as it comes."""
    ports = free_ports("127.0.0.1", 1)
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "bench"), "BENCH": f"stock {name} {rows} {workers}"}
    group = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(ports[0]),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(workers),
        "DMLC_NODE_HOST": "127.0.0.1",
    }
    others, processes = [], []
    try:
        for role in ["scheduler"] + ["server"] * workers if workers > 1 else []:
            env = {**own, **group, "DMLC_ROLE": role, "OMP_NUM_THREADS": "1"}
            others.append(subprocess.Popen([sys.executable, "-c", "import mxnet"], env=env))
        for _ in range(workers):
            env = {**own, **(group if workers > 1 else {}), "OMP_NUM_THREADS": str(threads)}
            env.update({"DMLC_ROLE": "worker"} if workers > 1 else {})
            command = [sys.executable, "-W", "ignore", "-c", "import loop; loop.worker()"]
            processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        return statistics.mean(json.loads(process.communicate(timeout=300)[0]) for process in processes)
    finally:
        for process in processes + others:
            process.kill()
            process.wait()


def measure_bare(name, rows, workers, threads, folder):
    """Return rows per second a worker of our exchange and update."""
    from role_harness import Group

    environment = {"BENCH": f"bare {name} {rows} {workers}"}
    logs = folder / f"bare-{time.monotonic_ns()}"
    with Group(workers, logs, workers, threads, "loop:worker", environment) as group:
        for process in group.workers:
            process.wait(300)
        return statistics.mean(json.loads(log.read_text().splitlines()[-1]) for log in group.logs)


def measure_role(spec, workers, threads):
    """Return rows per second a worker of the whole role, and the share of its time it waited for data."""
    from role_harness import run_group

    outcome = run_group(spec, workers, servers=workers, threads=threads)
    assert outcome.returncodes == [0] * workers, outcome.logs
    rates, waits = [], []
    for rank in range(workers):
        beats = [beat for beat in outcome.of(events.Beat, rank) if beat.step >= WARM_STEPS and beat.doing == "training"]
        first, last = beats[0], beats[-1]
        rates.append((last.rows - first.rows) / (last.seconds - first.seconds))
        waits.append((last.waiting_s - first.waiting_s) / (last.seconds - first.seconds))
    return statistics.mean(rates), max(waits)


def make_job(folder, name):
    """Spool random rows: one epoch is what is measured."""
    from role_harness import make_spec

    from mxspark.job.spec import Component, Function

    rows = (WARM_STEPS + STEPS[name] + 5) * 128
    counts = [rows // 3, 0, rows - rows // 3]
    spec = make_spec(
        folder / name,
        counts=counts,
        batch_size=128,
        arrays=random_rows(name, rows),
        optimizer=Component("sgd", OPTIONS),
        epochs=1,
    )
    plan = replace(spec.training_data.plan, block_rows=8192, window_blocks=128)
    return replace(
        spec,
        training_data=replace(spec.training_data, plan=plan),
        training=replace(spec.training, network=Function(name, path=f"loop:{name}")),
        beat_s=0.2,
    )


def run_round(folder, name, job):
    """Measure everything about one network once."""
    stock_two, bare_two = measure_stock(name, 64, 2, 1), measure_bare(name, 64, 2, 1, folder)
    role_two, waiting_two = measure_role(job, 2, 1)
    stock_one = measure_stock(name, 128, 1, 2)
    role_one, waiting_one = measure_role(job, 1, 2)
    rates = {"stock two": stock_two, "bare two": bare_two, "role two": role_two}
    return {**rates, "stock one": stock_one, "role one": role_one, "waiting": max(waiting_two, waiting_one)}


def summarise(name, rounds):
    """Return the medians of rates and of each round's ratios."""
    ratios = {
        "bare two / stock two": [r["bare two"] / r["stock two"] for r in rounds],
        "role two / stock two": [r["role two"] / r["stock two"] for r in rounds],
        "role two / bare two": [r["role two"] / r["bare two"] for r in rounds],
        "role one / stock one": [r["role one"] / r["stock one"] for r in rounds],
    }
    median = {key: statistics.median(values) for key, values in ratios.items()}
    waiting = statistics.median(r["waiting"] for r in rounds)
    bars = {
        "bare two / stock two": median["bare two / stock two"] >= BARS[name],
        "role one / stock one": median["role one / stock one"] >= 1.0,
        "waiting": waiting < 0.01,
    }
    return {"network": name, "ratios": median, "each": ratios, "waiting": waiting, "bars met": bars, "rounds": rounds}


def main():
    """Print and perhaps write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=sorted(SHAPES), default=["mlp", "lenet"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="mxspark-bench-") as scratch:
        jobs = {name: make_job(Path(scratch), name) for name in arguments.networks}
        rounds = {name: [] for name in arguments.networks}
        for number in range(arguments.rounds):
            for name, job in jobs.items():
                rounds[name].append(run_round(Path(scratch), name, job))
                rates = "  ".join(f"{key} {value:,.4g}" for key, value in rounds[name][-1].items())
                print(f"round {number + 1} {name:6} {rates}", flush=True)
        results = [summarise(name, seen) for name, seen in rounds.items()]
    for result in results:
        words = "  ".join(f"{key} {value:.3f}" for key, value in result["ratios"].items())
        print(f"{result['network']:6} {words}  waiting {result['waiting']:.2%}  bars met {result['bars met']}")
    print(json.dumps(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
