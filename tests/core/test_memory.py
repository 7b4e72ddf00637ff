"""What a container of YARN needs, and how a kill for memory is read."""

from __future__ import annotations

import doctest
from typing import Optional

import pytest

from mxspark.topology import memory

# MiB of a worker and a server, as bench/footprint.py measured them: values, workers, optimizer with two states or one
MEASURED = [(26_122, 155, 83), (9_845_610, 628, 157), (39_789_430, 1913, 386)]


def test_the_examples() -> None:
    assert doctest.testmod(memory).failed == 0


@pytest.mark.parametrize(("values", "worker", "server"), MEASURED)
def test_the_estimate_holds_what_was_measured_and_is_not_far_off(values: int, worker: int, server: int) -> None:
    found = memory.executor(heap=1024, overhead=384, slots=1, workers=2, servers=2, values=values)
    parts = {part.name: part for part in found.parts}
    assert worker <= parts["worker"].mib <= 1.5 * worker
    assert server <= parts["server"].mib <= 1.2 * server


def test_processes_are_counted_by_what_an_executor_runs() -> None:
    def counts(slots: int, workers: int, servers: int) -> dict[str, int]:
        found = memory.executor(heap=1024, overhead=384, slots=slots, workers=workers, servers=servers)
        return {part.name: part.count for part in found.parts}

    assert counts(4, 2, 0) == {"JVM": 1, "Python daemon": 1, "Python task": 2, "agent": 2, "worker": 2}
    assert counts(2, 8, 9)["server"] == 4, "the fullest one: two of the slots have two"
    assert counts(1, 8, 1)["server"] == 1


def test_a_container_that_is_too_small_says_what_would_do() -> None:
    found = memory.executor(heap=1024, overhead=384, slots=1, workers=2, servers=2)
    assert not found.fits and not found.is_hopeless
    wanted = int(found.setting.rpartition("=")[2].rstrip("m"))
    assert found.need <= wanted < found.need + 64
    again = memory.executor(heap=1024, overhead=wanted, slots=1, workers=2, servers=2)
    assert again.fits
    large = memory.executor(heap=1024, overhead=384, slots=1, workers=2, servers=2, values=100_000_000)
    assert large.is_hopeless


def test_a_driver_in_the_cluster_is_a_container_too() -> None:
    found = memory.driver(heap=1024, overhead=384, servers=1, has_scheduler=True)
    assert {part.name for part in found.parts} == {"JVM", "Python driver", "agent", "scheduler", "server"}
    assert "spark.driver.memoryOverhead" in found.setting


@pytest.mark.parametrize(
    ("heap", "given", "factor", "wanted"),
    [
        (1024, None, None, 384),
        (8192, None, None, 819),
        (8192, "2g", None, 2048),
        (8192, "700", "0.4", 700),
        (8192, None, "0.4", 3276),
    ],
)
def test_overheads_are_worked_out_as_spark_does(
    heap: int, given: Optional[str], factor: Optional[str], wanted: int
) -> None:
    assert memory.overhead_of(heap, given, factor) == wanted


@pytest.mark.parametrize("size", ["", "much", "1.5g"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        memory.mib(size)


def test_other_losses_are_no_kills_for_memory() -> None:
    assert memory.killed_by_yarn("Container from a bad node: container_1 on host: h. Exit status: 137") is None
