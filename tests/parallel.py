"""Several tests at a time: which stay together, which begin first, and which have the machine to themselves.

``./run-tests`` starts as many workers as `workers` says. What they collect they sort into units (`unit_of`); all tests
of one are run by the same worker, so that a Spark session or a cluster is started once.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

TIERS = ("core", "process", "mx", "spark", "cluster")
ROOT = Path(__file__).resolve().parent
ALONE = "alone: "
_WHOLE_FILES = ("core", "mx")  # many quick tests, and imports that cost more than they do
_PER_CORE = 2  # most tests wait most of the time


def tier_of(item: pytest.Item) -> str:
    """Return the folder a test lies in."""
    return item.path.relative_to(ROOT).parts[0]


def workers(arguments: Sequence[str]) -> int:
    """Return how many tests may run at a time; none beside this process where single files are asked for."""
    if arguments and all(".py" in argument for argument in arguments):
        return 0
    return max(2, _PER_CORE * len(os.sched_getaffinity(0)))


def unit_of(item: pytest.Item) -> str:
    """Return the name of what must stay on one worker: the tests of a file that share what it has made."""
    if item.get_closest_marker("alone"):
        return ALONE + item.nodeid
    tier = tier_of(item)
    if tier == "cluster":
        return f"cluster {'with YARN' if 'yarn' in item.fixturenames else 'of HDFS alone'}"
    if item.get_closest_marker("first"):
        return "first"  # one lock holds them apart anyway
    return item.nodeid if tier not in _WHOLE_FILES and not _shares(item) else item.nodeid.partition("::")[0]


def _shares(item: pytest.Item) -> bool:
    """Whether a test uses something that is made once for several."""
    made = item._fixtureinfo.name2fixturedefs.items()
    ours = [found[-1] for name, found in made if name != "tmp_path_factory" and found[-1].baseid.startswith("tests/")]
    return any(fixture.scope != "function" for fixture in ours)


def sort(items: list[pytest.Item], at_a_time: bool) -> dict[str, str]:
    """Put quick tiers first and return the unit of each test.

    Where several run at a time, what takes longest begins first, on a worker of its own: the cluster, and whole
    environments. The large units of a tier come before single tests, so that all workers end at about the same time.
    """
    units = {item.nodeid: unit_of(item) for item in items}
    sizes = Counter(units.values())
    if at_a_time:
        longest = [item for item in items if item.get_closest_marker("first") or tier_of(item) == "cluster"]
        rank = {item.nodeid: -1 for item in longest}
        items.sort(
            key=lambda item: (
                units[item.nodeid].startswith(ALONE),
                rank.get(item.nodeid, TIERS.index(tier_of(item))),
                -sizes[units[item.nodeid]],
            )
        )
    else:
        items.sort(key=lambda item: TIERS.index(tier_of(item)))
    return units


def scheduler(config: pytest.Config, log: Any, units_file: Path) -> Any:
    """Return what hands out the units."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):  # type: ignore[misc]
        """Hands out units in the order of the collection, and those that are alone once all others have ended."""

        def __init__(self) -> None:
            super().__init__(config, log)
            config.option.loadscopereorder = False
            self._units: dict[str, str] = {}

        def _split_scope(self, nodeid: str) -> str:
            if not self._units:
                self._units = json.loads(units_file.read_text())
            return self._units[nodeid]

        @property
        def tests_finished(self) -> bool:
            return super().tests_finished and not any(map(self._waits, self.nodes))

        def _waits(self, node: Any) -> bool:
            """Whether a worker has the first of those that are alone, and others have not ended yet."""
            return len(self.nodes) > 1 and any(unit.startswith(ALONE) for unit in self.assigned_work[node])

        def _reschedule(self, node: Any) -> None:
            # a worker begins a test once it knows the next, hence two; with more a long one would hold up others
            if self._waits(node) or (self.workqueue and self._pending_of(self.assigned_work[node]) >= 2):
                return
            super()._reschedule(node)

        def _assign_work_unit(self, node: Any) -> None:
            others = (other for other in self.nodes if other is not node)
            if next(iter(self.workqueue)).startswith(ALONE) and not all(other.shutting_down for other in others):
                node.shutdown()  # one that is still busy stays for them
            else:
                # one of those that are alone it gets as what is next, so that it can begin the last of the common ones
                super()._assign_work_unit(node)

        def remove_node(self, node: Any) -> Any:
            crashed = super().remove_node(node)
            if self.collection is not None:
                for other in self.nodes:
                    self._reschedule(other)
            return crashed

    return Units()
