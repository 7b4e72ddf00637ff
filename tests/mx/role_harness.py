"""Real scheduler, servers and workers of one attempt, with this process in the place of their agents."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
from spools import write_arrays

from mxspark.agent import host_group
from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.job.spec import Component, Restore, WorkerSpec
from mxspark.protocol import codec, commands, events
from mxspark.protocol.channel import Channel
from mxspark.protocol.specs import ENTRIES, INHERITED, GroupSpec, Inherited
from mxspark.topology import placement
from mxspark.topology.hosts import Groups

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEADLINE_S = 400.0


def digits(rows: int, seed: int = 3, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> dict[str, np.ndarray]:
    """Make rows that a small network can learn: a fixed random picture a class, and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows).astype(np.int32)
    pictures = np.random.default_rng(1).random((classes, *shape), dtype=np.float32)
    noise = rng.random((rows, *shape), dtype=np.float32)
    return {"pixels": (pictures[labels] + noise).astype(np.float32), "digit": labels}


def split(arrays: dict[str, np.ndarray], counts: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """Cut rows into partitions of the given sizes."""
    ends = np.cumsum([0, *counts])
    assert ends[-1] == len(next(iter(arrays.values())))
    return [{name: array[a:b] for name, array in arrays.items()} for a, b in zip(ends, ends[1:])]


def make_spec(
    folder: Path,
    *,
    counts: Sequence[int] = (90, 0, 110, 57),
    batch_size: int = 24,
    arrays: Optional[dict[str, np.ndarray]] = None,
    network: Any = "mlp",
    dtype: Optional[str] = None,
    loss: Optional[Component] = None,
    optimizer: Optional[Component] = None,
    schedule: Any = None,
    initializer: Any = "xavier",
    metrics: Sequence[Any] = ("accuracy",),
    best_by: Any = None,
    epochs: int = 2,
    seed: int = 7,
    fraction: float = 0.0,
    every_epochs: Optional[int] = None,
    every_steps: Optional[int] = None,
    class_weights: Optional[dict[int, float]] = None,
) -> WorkerSpec:
    """Write spools below `folder` and describe a job over them; `size` is filled in by `run_group`."""
    arrays = digits(sum(counts)) if arrays is None else arrays
    spool = write_arrays(folder / "spool", split(arrays, counts), ["digit"])
    job = JobConfig.from_dict(
        {
            "data": {
                "features": {"pixels": _column(arrays["pixels"], dtype)},
                "label": {"digit": _column(arrays["digit"])},
                "weight": {"weight": {"dtype": arrays["weight"].dtype.name}} if "weight" in arrays else None,
                "validation": {"fraction": fraction},
                "block_rows": 16,
                "window_rows": 64,
            },
            "training": {
                "network": network if callable(network) else f"role_jobs:{network}",
                "loss": loss or "softmax_cross_entropy",
                "class_weights": class_weights,
                "optimizer": optimizer or {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "wd": 1e-4},
                "schedule": schedule,
                "initializer": initializer,
                "metrics": list(metrics),
                "best_by": best_by,
                "epochs": epochs,
                "seed": seed,
                "batch_size": batch_size,
            },
            "checkpoint": {"every_epochs": every_epochs, "every_steps": every_steps},
        }
    )
    staging = folder / "staging"
    staging.mkdir(parents=True)
    spec = resolve.worker_spec(
        job,
        run_id="run",
        columns=(job.features(), job.labels()),
        data=resolve.data_sets(job, spool, None),
        restore=None,
        staging=str(staging),
    )
    return replace(spec, beat_s=0.0)


def _column(array: np.ndarray, dtype: Optional[str] = None) -> dict[str, Any]:
    return {"shape": list(array.shape[1:]), "dtype": dtype or array.dtype.name}


@dataclass
class Outcome:
    """What came of an attempt: events and exit codes of the workers by rank, exit codes of the other roles, logs."""

    events: list[list[Any]]
    returncodes: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)

    def of(self, kind: type, rank: int = 0) -> list[Any]:
        """Return the events of one kind that a rank sent."""
        return [event for event in self.events[rank] if isinstance(event, kind)]

    def staged(self, kind: str) -> list[events.Staged]:
        """Return what rank 0 staged, in order."""
        return [event for event in self.of(events.Staged) if event.kind == kind]

    def restore(self, step: int) -> Restore:
        """Return the checkpoint of a step as the driver would hand it to the next attempt."""
        (staged,) = [event for event in self.staged("checkpoint") if event.step == step]
        return Restore(staged.path, step, staged.epoch, staged.meta["step_in_epoch"])


class Group:
    """The processes of one attempt; a context manager that leaves none of them behind."""

    def __init__(
        self,
        size: int,
        logs: Path,
        servers: int = 1,
        threads: int = 1,
        entry: str = ENTRIES["worker"],
        environment: Optional[dict[str, str]] = None,
        hosts: Optional[int] = None,
        path: Optional[Path] = None,
        python: Callable[[Any], str] = lambda role: sys.executable,
    ) -> None:
        self._path = f"{path}:" if path else ""
        self._python = python
        self.size, self.entry, self.environment = size, entry, environment or {}
        self.channels: list[Channel] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.others: list[subprocess.Popen[bytes]] = []
        self.sockets: list[str] = []
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = [logs / f"worker{rank}.log" for rank in range(size)]
        wanted = GroupSpec(servers, servers, hosts is not None, "local", threads, 1)
        identities = [f"host {rank * (hosts or 1) // size}" for rank in range(size)]
        group = placement.plan_roles(wanted, identities, host_address="127.0.0.1", run_tag="test")
        every = group.hosts if hosts else ()
        self.inherited = {rank: given for members in every for rank, given in _meet(every, members).items()}
        self.unused: list[Channel] = []
        for role in group.driver:
            self.others.append(self._start(role, logs / f"{role.role}{role.rank}.log", self.unused))
        for (role, *_), log in zip(group.slots, self.logs):
            self.workers.append(self._start(role, log, self.channels, self.inherited.get(role.rank)))
        for given in self.inherited.values():
            host_group.close(given.descriptors())

    def _start(
        self, role: Any, log: Path, channels: list[Channel], given: Optional[Inherited] = None
    ) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        channels.append(Channel(ours))
        self.sockets.append(role.socket)
        entry = self.entry if role.role == "worker" else ENTRIES[role.role]
        module, _, function = entry.partition(":")
        path = f"{self._path}{ROOT}:{HERE}:{HERE.parent}:{ROOT / 'bench'}"
        environment = {**role.environment, **self.environment, "PATH": os.environ["PATH"], "PYTHONPATH": path}
        if given is not None:
            environment[INHERITED] = json.dumps(codec.encode(given))
        environment.update(MXSPARK_CHANNEL=str(theirs.fileno()), TEST_RANK=str(role.rank), TEST_SIZE=str(self.size))
        with theirs, open(log, "wb") as out:
            return subprocess.Popen(
                [self._python(role), "-c", f"import {module}; {module}.{function}()"],
                env=environment,
                pass_fds=(theirs.fileno(), *(given.descriptors() if given else ())),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                umask=0o77,
            )

    def train(self, spec: WorkerSpec) -> None:
        """Send every worker its work."""
        for rank, channel in enumerate(self.channels):
            order = commands.Train(rank, codec.encode(replace(spec, size=self.size)))
            channel.send(commands.to_wire(order))

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.workers + self.others:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(120)
        for channel in self.channels + self.unused:
            channel.close()
        for path in filter(None, self.sockets):
            Path(path).unlink(missing_ok=True)


def _meet(hosts: Groups, members: tuple[int, ...]) -> dict[int, Inherited]:
    """Make what agents would hand down to the workers of one host; nothing where one is alone."""
    return host_group.make(hosts, members) if len(members) > 1 else {members[0]: Inherited(hosts)}


def run_group(
    spec: WorkerSpec,
    size: int,
    *,
    servers: int = 1,
    threads: int = 1,
    hosts: Optional[int] = None,
    path: Optional[Path] = None,
    stop: Callable[[int, Any], bool] = lambda rank, event: False,
    commit: Callable[[events.Staged], bool] = lambda staged: True,
) -> Outcome:
    """Run one attempt to its end, or kill it all as soon as `stop(rank, event)` says so.

    `hosts` is on how many hosts the workers pretend to be, and sum among themselves; None goes through servers alone.
    `path` is where else they find modules.
    """
    logs = Path(spec.staging).parent / f"logs-{time.monotonic_ns()}"
    outcome = Outcome([[] for _ in range(size)])
    spec = replace(spec, exchange="hierarchical" if hosts else "kvstore")
    with Group(size, logs, servers, threads, hosts=hosts, path=path) as group:
        group.train(spec)
        if _follow(group, outcome, stop, commit):
            _finish(group)
    outcome.returncodes = [process.returncode for process in group.workers]
    outcome.others = [process.returncode for process in group.others]
    outcome.logs = [log.read_text() for log in group.logs]
    return outcome


def _follow(group: Group, outcome: Outcome, stop: Any, commit: Any) -> bool:
    """Play the agents' part until all workers are done; False if the attempt failed or was stopped."""
    deadline = time.monotonic() + DEADLINE_S
    done = 0
    with selectors.DefaultSelector() as selector:
        for rank, channel in enumerate(group.channels):
            selector.register(channel, selectors.EVENT_READ, rank)
        while done < group.size:
            assert time.monotonic() < deadline, "\n".join(log.read_text() for log in group.logs)
            for rank, event in _arrived(group, selector):
                if event is None:
                    group.workers[rank].wait(120)
                    return False
                outcome.events[rank].append(event)
                if stop(rank, event):
                    return False
                done += isinstance(event, events.Done)
                if isinstance(event, events.Staged) and event.kind == "checkpoint" and commit(event):
                    group.channels[0].send(commands.to_wire(commands.Committed(event.step)))
    return True


def _arrived(group: Group, selector: selectors.BaseSelector) -> Iterator[tuple[int, Any]]:
    """Yield what workers have sent; None for one that closed its end."""
    for key, _ in selector.select(1.0):
        with contextlib.suppress(TimeoutError):
            while (message := group.channels[key.data].receive(0.0)) is not None:
                yield key.data, events.from_wire(message)
            yield key.data, None


def _finish(group: Group) -> None:
    for channel in group.channels:
        channel.send(commands.to_wire(commands.Finish()))
    for process in group.workers + group.others:
        process.wait(120)
