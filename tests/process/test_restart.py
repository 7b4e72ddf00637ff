"""Attempt after attempt on the same agents: what died is started anew, and nothing of before can disturb it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from agent_group import AT_ONCE_S, PATIENCE_S, AgentGroup, freeze, is_alive

from mxspark.agent import launch
from mxspark.protocol import events
from mxspark.protocol.specs import Limits

SLOW = {"FAKE_STEPS": "100000"}
VICTIMS = [("scheduler", 0), ("server", 0), ("server", 2), ("worker", 1)]


@pytest.mark.parametrize(("role", "rank"), VICTIMS)
def test_a_killed_role_is_followed_by_a_next_attempt_on_the_same_agents(tmp_path: Path, role: str, rank: int) -> None:
    hanging = {("worker", 0): {"at": "middle", "do": "hang"}}  # only the kill can end the first attempt
    with AgentGroup(tmp_path, servers=3, on_driver=1, faults=hanging) as group:
        group.start()
        group.until(lambda report: isinstance(report.event, events.Beat) and report.event.step >= 5)
        victim, agents, everyone = group.pid(role, rank), [slot.pid for slot in group.slots], group.tagged()
        assert is_alive(victim) and len(everyone) == 6
        os.kill(victim, signal.SIGKILL)
        ended = group.attempt_end()
        assert not group.tagged() and not [path for path in group.sockets if os.path.lexists(path)]
        assert ended.cause is not None and (ended.cause.role, ended.cause.rank, ended.attempt) == (role, rank, 1)
        assert ended.lost == () and all(map(is_alive, agents))
        cleared = [report.event for report in group.reported if isinstance(report.event, events.Cleared)]
        assert sorted((event.rank, event.attempt) for event in cleared) == [(0, 1), (1, 1)]
        group.again()
        second = group.attempt_end()
        assert (second.cause, second.attempt, second.others) == (None, 2, ())
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["finished"] * 2
        assert [slot.pid for slot in group.slots] == agents
    assert "worker-0.attempt-2" in second.logs and "worker-0" in ended.logs
    assert (tmp_path / "logs" / "worker-0.log").exists() and (tmp_path / "logs" / "worker-0.attempt-2.log").exists()


def test_many_attempts_leave_nothing_behind(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        for number in range(1, 8):
            group.until(lambda report: isinstance(report.event, events.Beat))
            os.kill(group.pid("worker", number % 2), signal.SIGKILL)
            assert group.attempt_end().attempt == number
            assert not group.tagged()
            if number == 2:
                before = descriptors(group)
            group.again()
        group.until(lambda report: isinstance(report.event, events.Beat))
        os.kill(group.pid("server", 0), signal.SIGKILL)
        group.attempt_end()
        deadline = time.monotonic() + PATIENCE_S
        while any(now > then for now, then in zip(descriptors(group), before)):  # one may be about to be closed
            assert time.monotonic() < deadline, f"descriptors leak: {before}, then {descriptors(group)}"
            time.sleep(0.02)


def descriptors(group: AgentGroup) -> list[int]:
    """Return how many each agent has open."""
    return [len(os.listdir(f"/proc/{slot.pid}/fd")) for slot in (*group.slots, group.driver)]


def test_an_agent_that_is_lost_between_two_attempts_fails_the_next_at_once(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        os.kill(group.pid("worker", 0), signal.SIGKILL)
        assert group.attempt_end().lost == ()
        group.slots[1].kill()
        assert group.slots[1].wait(PATIENCE_S)["outcome"] == "died"
        group.again()
        ended = group.attempt_end()
        assert ended.attempt == 2 and ended.lost == (1,)
        assert ended.cause is not None and (ended.cause.kind, ended.cause.rank) == ("agent", 1)
        group.stop("no slot")
        assert group.slots[0].wait(PATIENCE_S)["outcome"] == "stopped"


def test_an_agent_that_cannot_clear_is_lost_and_ended(tmp_path: Path) -> None:
    limits = Limits(start_s=120, hang_s=120, lease_s=60, shutdown_s=5)
    with AgentGroup(tmp_path, limits=limits, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        freeze(group.slots[1].pid)
        os.kill(group.pid("worker", 0), signal.SIGKILL)
        ended = group.attempt_end()
        assert ended.lost == (1,) and ended.cause is not None and ended.cause.rank == 0
        group.assert_nothing_left(0.0)
        assert group.slots[1].wait(PATIENCE_S)["outcome"] == "died"


def test_no_role_is_started_before_every_agent_has_joined(tmp_path: Path) -> None:
    """Only the agents know which of them share a host."""
    with AgentGroup(tmp_path) as group:
        group.start(ranks=[1])
        group.until(group.saw(events.Joined, "agent", 1))
        time.sleep(0.3)
        assert not group.tagged()
        group.slots.append(launch.slot_agent(group.slot_spec(0), sys.executable))
        assert group.end().cause is None
    kinds = [type(report.event) for report in group.reported]
    assert kinds.index(events.RoleStarted) > max(place for place, kind in enumerate(kinds) if kind is events.Joined)


def test_the_scheduler_may_die_while_the_roles_start(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, faults={("worker", 0): {"at": "start", "do": "hang"}}) as group:
        group.start()
        group.until(lambda report: getattr(report.event, "role", "") == "scheduler")
        os.kill(group.pid("scheduler", 0), signal.SIGKILL)
        ended = group.attempt_end()
        assert ended.cause is not None and ended.cause.role == "scheduler" and ended.lost == ()
        group.again()
        assert group.attempt_end().cause is None


def test_a_driver_that_stops_after_a_failure_ends_the_agents(tmp_path: Path) -> None:
    with AgentGroup(tmp_path, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        os.kill(group.pid("worker", 0), signal.SIGKILL)
        group.attempt_end()
        began = time.monotonic()
        group.stop("no more")
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["stopped"] * 2
        while (frame := group.channel.receive(PATIENCE_S)) is not None:
            assert frame.get("event") != "Ended", "it is said once an attempt"
        assert group.driver.wait(PATIENCE_S)["outcome"] == "died" and time.monotonic() - began < AT_ONCE_S
