"""Attempt after attempt on the same agents: what died is started anew, and nothing of before can disturb it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from gang import AT_ONCE_S, PATIENCE_S, Gang, freeze, is_alive

from mxspark.agent import launch
from mxspark.protocol import events
from mxspark.protocol.specs import Limits

SLOW = {"FAKE_STEPS": "100000"}
VICTIMS = [("scheduler", 0), ("server", 0), ("server", 2), ("worker", 1)]


@pytest.mark.parametrize(("role", "rank"), VICTIMS)
def test_a_killed_role_is_followed_by_a_next_attempt_on_the_same_agents(tmp_path: Path, role: str, rank: int) -> None:
    hanging = {("worker", 0): {"at": "middle", "do": "hang"}}  # only the kill can end the first attempt
    with Gang(tmp_path, servers=3, on_driver=1, faults=hanging) as gang:
        gang.start()
        gang.until(lambda report: isinstance(report.event, events.Beat) and report.event.step >= 5)
        victim, agents, everyone = gang.pid(role, rank), [slot.pid for slot in gang.slots], gang.tagged()
        assert is_alive(victim) and len(everyone) == 6
        os.kill(victim, signal.SIGKILL)
        ended = gang.attempt_end()
        assert not gang.tagged() and not [path for path in gang.sockets if os.path.lexists(path)]
        assert ended.cause is not None and (ended.cause.role, ended.cause.rank, ended.attempt) == (role, rank, 1)
        assert ended.lost == () and all(map(is_alive, agents))
        cleared = [report.event for report in gang.reported if isinstance(report.event, events.Cleared)]
        assert sorted((event.rank, event.attempt) for event in cleared) == [(0, 1), (1, 1)]
        gang.again()
        second = gang.attempt_end()
        assert (second.cause, second.attempt, second.others) == (None, 2, ())
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in gang.slots] == ["finished"] * 2
        assert [slot.pid for slot in gang.slots] == agents
    assert "worker-0.attempt-2" in second.logs and "worker-0" in ended.logs
    assert (tmp_path / "logs" / "worker-0.log").exists() and (tmp_path / "logs" / "worker-0.attempt-2.log").exists()


def test_many_attempts_leave_nothing_behind(tmp_path: Path) -> None:
    with Gang(tmp_path, environment=SLOW) as gang:
        gang.start()
        for number in range(1, 8):
            gang.until(lambda report: isinstance(report.event, events.Beat))
            os.kill(gang.pid("worker", number % 2), signal.SIGKILL)
            assert gang.attempt_end().attempt == number
            assert not gang.tagged()
            if number == 2:
                before = [len(os.listdir(f"/proc/{slot.pid}/fd")) for slot in (*gang.slots, gang.driver)]
            gang.again()
        gang.until(lambda report: isinstance(report.event, events.Beat))
        os.kill(gang.pid("server", 0), signal.SIGKILL)
        gang.attempt_end()
        final = [len(os.listdir(f"/proc/{slot.pid}/fd")) for slot in (*gang.slots, gang.driver)]
        assert final == before, "descriptors leak from attempt to attempt"


def test_an_agent_that_is_lost_between_two_attempts_fails_the_next_at_once(tmp_path: Path) -> None:
    with Gang(tmp_path, environment=SLOW) as gang:
        gang.start()
        gang.until_all(events.Started, 2)
        os.kill(gang.pid("worker", 0), signal.SIGKILL)
        assert gang.attempt_end().lost == ()
        gang.slots[1].kill()
        assert gang.slots[1].wait(PATIENCE_S)["outcome"] == "died"
        gang.again()
        ended = gang.attempt_end()
        assert ended.attempt == 2 and ended.lost == (1,)
        assert ended.cause is not None and (ended.cause.kind, ended.cause.rank) == ("agent", 1)
        gang.stop("no slot")
        assert gang.slots[0].wait(PATIENCE_S)["outcome"] == "stopped"


def test_an_agent_that_cannot_clear_is_lost_and_ended(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=60, shutdown_s=5)
    with Gang(tmp_path, limits=limits, environment=SLOW) as gang:
        gang.start()
        gang.until_all(events.Started, 2)
        freeze(gang.slots[1].pid)
        os.kill(gang.pid("worker", 0), signal.SIGKILL)
        ended = gang.attempt_end()
        assert ended.lost == (1,) and ended.cause is not None and ended.cause.rank == 0
        gang.assert_nothing_left(0.0)
        assert gang.slots[1].wait(PATIENCE_S)["outcome"] == "died"


def test_no_role_is_started_before_every_agent_has_joined(tmp_path: Path) -> None:
    """Only the agents know which of them share a host."""
    with Gang(tmp_path) as gang:
        gang.start(ranks=[1])
        gang.until(gang.saw(events.Joined, "agent", 1))
        time.sleep(0.3)
        assert not gang.tagged()
        gang.slots.append(launch.slot_agent(gang.slot_spec(0), sys.executable))
        assert gang.end().cause is None
    kinds = [type(report.event) for report in gang.reported]
    assert kinds.index(events.RoleStarted) > max(place for place, kind in enumerate(kinds) if kind is events.Joined)


def test_the_scheduler_may_die_while_the_roles_start(tmp_path: Path) -> None:
    with Gang(tmp_path, faults={("worker", 0): {"at": "start", "do": "hang"}}) as gang:
        gang.start()
        gang.until(lambda report: getattr(report.event, "role", "") == "scheduler")
        os.kill(gang.pid("scheduler", 0), signal.SIGKILL)
        ended = gang.attempt_end()
        assert ended.cause is not None and ended.cause.role == "scheduler" and ended.lost == ()
        gang.again()
        assert gang.attempt_end().cause is None


def test_a_driver_that_stops_after_a_failure_ends_the_agents(tmp_path: Path) -> None:
    with Gang(tmp_path, environment=SLOW) as gang:
        gang.start()
        gang.until_all(events.Started, 2)
        os.kill(gang.pid("worker", 0), signal.SIGKILL)
        gang.attempt_end()
        began = time.monotonic()
        gang.stop("no more")
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in gang.slots] == ["stopped"] * 2
        while (frame := gang.channel.receive(PATIENCE_S)) is not None:
            assert frame.get("event") != "Ended", "it is said once an attempt"
        assert gang.driver.wait(PATIENCE_S)["outcome"] == "died" and time.monotonic() - began < AT_ONCE_S
