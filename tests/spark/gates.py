"""User code that stops at a chosen moment until the test lets it go on: how tests meet a run at a known place."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

FOLDER = "GATE_FOLDER"  # variables of the workers, given by cluster.environment
MOMENT = "GATE_MOMENT"
LIMIT_S = 600.0
# A metric is given the first batch four times more, in training and in validation: does a row's value depend on others?
LOOKED = 4
_calls = {"metric": 0}
_held: list[bytearray] = []


def wait_here(moment: str) -> None:
    """If this is the moment, say so and wait until the test opens the gate, or long enough to fail it."""
    if os.environ.get(MOMENT) != moment:
        return
    folder = Path(os.environ[FOLDER])
    (folder / f"reached-{os.getpid()}").touch()
    deadline = time.monotonic() + LIMIT_S
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def gated(gates: str, batches: Iterator[Any]) -> Iterator[Any]:
    """Say that the rows are read, and give them once the gate is open."""
    (Path(gates) / f"reached-{os.getpid()}").touch()
    while not (Path(gates) / "go").exists():
        time.sleep(0.02)
    yield from batches


def read_gated(gates: str) -> Callable[..., Any]:
    """Return what reads rows as usual, through the gate."""
    from mxspark.spark.spool import inputs

    read = inputs.read

    def through_the_gate(*given: Any) -> Any:
        frame = read(*given)
        return frame.mapInPandas(partial(gated, gates), frame.schema)

    return through_the_gate


def network() -> Any:
    """Return an MLP; the moment ``start`` is before there is one."""
    from mxnet import gluon

    wait_here("start")
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(32, activation="relu"), gluon.nn.Dense(10))
    return net


def hungry() -> Any:
    """Return that network, in a worker that holds far more memory than it needs."""
    _held.append(bytearray(b"x") * 2**31)
    return network()


def broken() -> Any:
    """Raise where a network is built."""
    raise LookupError("no such layer")


def gate(label: Any, output: Any) -> Any:
    """Count rows right; the moments ``middle`` and ``end`` are inside the 10th and the 27th batch seen."""
    _calls["metric"] += 1
    if _calls["metric"] == LOOKED + 10:
        wait_here("middle")
    if _calls["metric"] == 2 * LOOKED + 27:  # 2 epochs of 12 training and 3 validation batches: in the last validation
        wait_here("end")
    return output.argmax(axis=1) == label


def slow(label: Any, output: Any) -> Any:
    """Count rows right and take as long as `SLOW_S` says over it."""
    time.sleep(float(os.environ["SLOW_S"]))
    return output.argmax(axis=1) == label


def one_slow(label: Any, output: Any) -> Any:
    """Count rows right; the worker that comes first says who it is and takes `SLOW_S` over each batch."""
    if _calls["metric"] == 0:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(Path(os.environ[FOLDER]) / "slow", os.O_CREAT | os.O_EXCL))
            (Path(os.environ[FOLDER]) / f"slow-{os.getpid()}").touch()
    _calls["metric"] += 1
    if (Path(os.environ[FOLDER]) / f"slow-{os.getpid()}").exists():
        time.sleep(float(os.environ["SLOW_S"]))
    return output.argmax(axis=1) == label


def daemons() -> Any:
    """Return the network of `network`, and leave two processes behind, one in a session of its own."""
    subprocess.Popen(["sleep", "1001"])
    subprocess.Popen(["sleep", "1002"], start_new_session=True)
    return network()


def failing(label: Any, output: Any) -> Any:
    """Raise in the 5th batch, as user code may."""
    _calls["metric"] += 1
    if _calls["metric"] == LOOKED + 5:
        raise ZeroDivisionError("the user's metric divides by zero")
    return output.argmax(axis=1) == label


class Endless(Exception):
    """Its message is larger than any frame."""

    def __str__(self) -> str:
        return "z" * 30_000_000


class Mute(Exception):
    """It cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def endless(label: Any, output: Any) -> Any:
    """Raise what is too long to report."""
    raise Endless


def mute(label: Any, output: Any) -> Any:
    """Raise what cannot be put in words."""
    raise Mute


def not_a_number() -> Any:
    """Return a metric that counts no row, so that its value is NaN and no divergence."""
    import mxnet as mx

    return mx.metric.CustomMetric(lambda label, output: (0.0, 0))
