"""One machine that looks like several hosts, whose workers meet through the servers alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from pyspark import BarrierTaskContext

from mxspark.spark.run import task
from mxspark.topology import hosts as topology

if TYPE_CHECKING:
    import pytest


def pretend(monkeypatch: pytest.MonkeyPatch, workers: int, hosts: int) -> None:
    """Have the agents of so many workers say that they are on so many hosts, as even as can be."""
    monkeypatch.setattr(task, "run_slot", partial(run_slot, workers, hosts))
    monkeypatch.setattr(topology, "LINKED", frozenset({"local"}))  # there is one /tmp in which all of them can meet


def run_slot(workers: int, hosts: int, spec_json: str, rows: Iterable[int]) -> Iterator[str]:
    """Do what a task of the gang does, on a host of a name of its own."""
    spec = json.loads(spec_json)
    rank = BarrierTaskContext.get().partitionId()
    yield from task.run_slot(json.dumps({**spec, "identity": f"host {rank * hosts // workers}"}), rows)
