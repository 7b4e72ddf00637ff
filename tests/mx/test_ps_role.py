"""Thin scheduler and servers against real MXNet workers, under real agents."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest
from agent_group import PROGRAMS, AgentGroup, freeze

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


def test_thin_roles_hold_nothing_but_the_servers_library(tmp_path: Path) -> None:
    """What makes them start at once: MXNet's library without its Python, which brings numpy and takes seconds."""
    thin = [("scheduler", 0), ("server", 0), ("server", 1)]
    with AgentGroup(tmp_path, entries=ENTRIES) as group:
        group.worker_spec = {"marker": str(tmp_path / "marker")}
        group.start()
        group.until(lambda report: isinstance(report.event, events.RoleStarted) and report.event.role == "worker")
        worker = next(pid for report in group.reported if (pid := _pid_of_worker(report)))
        freeze(worker)  # else all might be over before anybody looks
        waiting = set(thin)
        while waiting:
            report = group.until(lambda report: isinstance(report.event, events.Loaded))
            waiting.discard((report.role, report.rank))
        maps = {who: Path(f"/proc/{group.pid(*who)}/maps").read_text() for who in thin}
        os.kill(worker, signal.SIGCONT)
        assert group.end().cause is None
    for who, text in maps.items():
        assert "libmxnet.so" in text and "numpy" not in text, who


def _pid_of_worker(report: events.Reported) -> int:
    event = report.event
    return event.pid if isinstance(event, events.RoleStarted) and event.role == "worker" else 0
