"""How tests are handed out to workers: each once, what belongs together to one, what is alone after all others."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parallel import ALONE, scheduler

pytest.importorskip("xdist")


class Worker:
    """One as the scheduler sees it; it begins a test once it knows the next, as those of pytest-xdist do."""

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.queue: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        return len(self.queue) > 1 or (self.shutting_down and bool(self.queue))


def run(units: dict[str, str], workers: int, folder: Path, seed: int) -> list[tuple[str, str, int]]:
    """Let workers run tests in some order; return who ran what, and how many others had something to do."""
    (folder / "units.json").write_text(json.dumps(units))
    config: Any = SimpleNamespace(getvalue=lambda _name: ["popen"] * workers, option=SimpleNamespace())
    made, rng, tests = scheduler(config, None, folder / "units.json"), random.Random(seed), list(units)
    alive = [Worker(number) for number in range(workers)]
    for worker in alive:
        made.add_node(worker)
        made.add_node_collection(worker, tests)
    made.schedule()
    ran = []
    while alive:
        ready = [worker for worker in alive if worker.can_run or (worker.shutting_down and not worker.queue)]
        assert ready, "nobody can go on"
        worker = rng.choice(ready)
        if worker.queue:
            index = worker.queue.pop(0)
            ran.append(
                (worker.gateway.id, tests[index], sum(bool(other.queue) for other in alive if other is not worker))
            )
            made.mark_test_complete(worker, index)
            if made.tests_finished:
                for other in made.nodes:
                    other.shutdown()
        else:
            alive.remove(worker)
            if worker in made.nodes:
                assert made.remove_node(worker) is None
    return ran


@pytest.mark.parametrize("common", [0, 1, 2, 40])
@pytest.mark.parametrize("alone", [0, 1, 5])
@pytest.mark.parametrize("workers", [2, 4])
def test_each_test_runs_once_and_those_that_are_alone_run_alone(
    tmp_path: Path, common: int, alone: int, workers: int
) -> None:
    units = {f"test{number}": f"unit {number // 3 if number < 12 else number}" for number in range(common)}
    units |= {f"lonely{number}": f"{ALONE}{number}" for number in range(alone)}
    for seed in range(20 if units else 0):
        ran = run(units, workers, tmp_path, seed)
        assert Counter(name for _, name, _ in ran) == Counter(list(units))
        assert len({(who, units[name]) for who, name, _ in ran}) == len(set(units.values())), "a unit is of one worker"
        assert not [name for _, name, others in ran if name.startswith("lonely") and others]
