"""The network between the driver's agent and those of the slots: cut for a moment, for good, one way, and slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_group import AT_ONCE_S, PATIENCE_S, AgentGroup
from namespaces import Cable, cable

from mxspark.protocol import events
from mxspark.protocol.specs import Limits

SLOW = {"FAKE_STEPS": "100000"}
LEASE_S = 5.0
LIMITS = Limits(start_s=120, hang_s=120, lease_s=LEASE_S, shutdown_s=60)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Cable]:
    with cable(tmp_path) as laid:
        yield laid


def far(folder: Path, laid: Cable, **options: Any) -> AgentGroup:
    """Return a group whose slots are at the other end of the cable."""
    elsewhere = {"identity": "another host", "same_host": False}  # or one side would kill the other by its pid
    pythons = (laid.python("driver"), laid.python("slots"))
    return AgentGroup(folder, limits=LIMITS, bind=laid.ADDRESSES["driver"], pythons=pythons, **elsewhere, **options)


def steps_within(group: AgentGroup, seconds: float) -> int:
    """Take what the driver's agent says for so long, none of it the end of something, and count the steps told."""
    steps, until = 0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            frame = group.channel.receive(left)
        except TimeoutError:
            break
        assert frame is not None and frame.get("event") not in ("Ended", "RoleEnded"), frame
        steps += frame.get("event") == "Beat"
    return steps


def test_a_cut_that_is_shorter_than_the_lease_ends_nothing(tmp_path: Path, wire: Cable) -> None:
    with far(tmp_path, wire, environment=SLOW) as group:
        group.start()
        group.until_all(events.Started, 2)
        wire.cut("driver", "slots")
        steps_within(group, 0.2)  # those that had come through
        assert steps_within(group, LEASE_S / 3) == 0
        wire.mend()
        assert steps_within(group, LEASE_S) > 0
        group.stop()
        cause = group.end().cause
        assert [slot.wait(PATIENCE_S)["outcome"] for slot in group.slots] == ["stopped"] * 2, "told so, over the cable"
    assert cause is not None and cause.kind == "interrupted"


@pytest.mark.parametrize("silent", [("driver", "slots"), ("slots",), ("driver",)])
def test_a_cut_that_lasts_ends_the_roles_on_both_sides(tmp_path: Path, wire: Cable, silent: tuple[str, ...]) -> None:
    """One-way cuts too: what the other side sends is still heard, its answers are not."""
    # the scheduler's sockets are not cut, and it must not be what notices
    faults = {("scheduler", 0): {"at": "formed", "do": "hang"}}
    with far(tmp_path, wire, environment=SLOW, faults=faults) as group:
        group.start()
        group.until_all(events.Started, 2)
        assert len(group.tagged()) == 5
        began = time.monotonic()
        wire.cut(*silent)
        cause = group.end().cause
        outcomes = [slot.wait(PATIENCE_S) for slot in group.slots]
        assert time.monotonic() - began < LEASE_S + AT_ONCE_S
        group.assert_nothing_left()
    assert {outcome["outcome"] for outcome in outcomes} == {"orphaned"}, outcomes
    assert all(f"failure.lease_s = {LEASE_S:g} s" in outcome["message"] for outcome in outcomes)
    assert cause is not None and (cause.kind, cause.role) == ("agent", "agent")


def test_a_slow_network_is_not_taken_for_a_broken_one(tmp_path: Path, wire: Cable) -> None:
    wire.slow("256kbit")
    with far(tmp_path, wire, environment={"FAKE_STEPS": "500"}) as group:
        group.start()
        assert group.end().cause is None
