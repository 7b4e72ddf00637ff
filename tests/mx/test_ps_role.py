"""Thin scheduler and servers against real MXNet workers, under real agents."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from agent_group import PROGRAMS, AgentGroup

from mxspark.protocol import events, specs

ENTRIES = {**specs.ENTRIES, "worker": "mx_worker:main"}


@pytest.mark.parametrize(("servers", "on_driver"), [(2, 0), (3, 1)])
def test_thin_roles_sum_and_end_and_unpickle_nothing(tmp_path: Path, servers: int, on_driver: int) -> None:
    marker = tmp_path / "marker"
    with AgentGroup(tmp_path, servers=servers, on_driver=on_driver, entries=ENTRIES) as group:
        group.worker_spec = {"marker": str(marker)}
        group.start()
        ended = group.end()
        assert ended.cause is None, ended.cause.describe()
        assert [slot.wait(120)["outcome"] for slot in group.slots] == ["finished", "finished"]
        group.assert_nothing_left()
    formed = [(r.role, r.rank, r.event.rank) for r in group.reported if isinstance(r.event, events.Formed)]
    assert sorted(formed) == sorted((role, rank, rank) for role, rank in group.roles if role != "scheduler")
    exits = [report.event for report in group.reported if isinstance(report.event, events.RoleEnded)]
    assert [(exit.returncode, exit.expected) for exit in exits] == [(0, True)] * (servers + 3)
    assert not marker.exists(), "a server executed what a peer sent"
    for rank in range(servers):
        log = ended.logs[f"server-{rank}"]
        assert "command 0 refused" in log and "posix" in log, log


def test_the_marker_would_have_been_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAMS))
    from mx_worker import Marker

    path = tmp_path / "marker"
    pickle.loads(pickle.dumps(Marker(str(path)), 0))
    assert path.exists()


def test_thin_roles_are_ready_soon(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, entries=ENTRIES) as group:
        group.worker_spec = {"marker": str(tmp_path / "marker")}
        group.start()
        group.until_all(events.Formed, 4)
    loaded = [
        report.event.seconds
        for report in group.reported
        if isinstance(report.event, events.Loaded) and report.role != "worker"
    ]
    print("thin roles loaded within", loaded)
    assert len(loaded) == 3 and max(loaded) < 2.0
