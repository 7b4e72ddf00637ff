"""Who owns a job dir: live and stale owners, other jobs, taking over, the lease."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Callable, Optional

import pytest
from job_records import RECORD, a_run
from racers import race

from mxspark.errors import OwnerLives, TakenOver
from mxspark.job.record import RunInfo
from mxspark.jobdir import lease, ownership
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.lease import Lease
from mxspark.jobdir.ownership import Claim
from mxspark.storage.memory import Fault, InMemoryStorage


class Clock:
    """A clock moved by whoever sleeps; `meanwhile` happens once it has come to a time."""

    def __init__(self) -> None:
        self.time = 0.0
        self.meanwhile: dict[float, Callable[[], object]] = {}
        self.said: list[str] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for due in [due for due in sorted(self.meanwhile) if due <= self.time]:
            self.meanwhile.pop(due)()


def own(storage: InMemoryStorage, run: RunInfo, clock: Optional[Clock] = None, take_over: bool = False) -> JobDir:
    clock = clock or Clock()
    claim = Claim(storage, "/job", run, take_over, say=clock.said.append, now=clock.now, sleep=clock.sleep)
    return JobDir.acquire(storage, "/job", RECORD, run, claim)


def touched(storage: InMemoryStorage, owner: JobDir) -> Callable[[], object]:
    return lambda: ownership.touch(storage, "/job", owner.term)


def test_the_same_job_takes_over_at_once() -> None:
    storage, clock = InMemoryStorage(), Clock()
    old = own(storage, a_run())
    assert own(storage, a_run(), clock).term == 2
    assert clock.time == 0.0
    with pytest.raises(TakenOver, match=r"another run owns the job dir memory:///job: term 2, run run\d+ of ann"):
        old.check_owner()


def test_a_live_owner_of_another_job_is_named_and_stays() -> None:
    storage, clock = InMemoryStorage(), Clock()
    old = own(storage, a_run("nightly", lease_s=60))
    clock.meanwhile[19.0] = touched(storage, old)
    with pytest.raises(OwnerLives) as caught:
        own(storage, a_run("mine"), clock)
    text = str(caught.value)
    assert f"{old.run.run_id} of ann on here, pid 123, since 2024-01-02T03:04:05+00:00" in text
    assert "job id nightly; this run's is mine" in text
    assert '--take-over (in Python job={"take_over": True}), which ends that run within 60 s' in text
    assert clock.time < 30, "it is known as soon as it was seen to live"
    old.check_owner()
    assert own(storage, a_run("mine"), take_over=True).term == 2


def test_a_stale_owner_of_another_job_is_replaced_after_its_own_lease() -> None:
    storage, clock = InMemoryStorage(), Clock()
    own(storage, a_run("nightly", lease_s=60))
    assert own(storage, a_run("mine", lease_s=1), clock).term == 2
    assert 60 <= clock.time < 63
    assert "looking for up to 60 s whether it lives" in clock.said[0]
    assert "has not been seen to live; it is replaced" in clock.said[-1]


def test_an_owner_that_has_ended_is_replaced_at_once() -> None:
    storage, clock = InMemoryStorage(), Clock()
    with Lease(own(storage, a_run("nightly"))):
        pass
    assert own(storage, a_run("mine"), clock).term == 2
    assert clock.time == 0.0


def test_an_owner_that_woke_up_after_it_was_looked_at_lives() -> None:
    """A claim may look before the spool and take after it: what it saw then is looked at again."""
    storage, clock, run = InMemoryStorage(), Clock(), a_run("mine")
    old = own(storage, a_run("nightly"))
    claim = Claim(storage, "/job", run, False, say=clock.said.append, now=clock.now, sleep=clock.sleep)
    assert claim.wait_until_free() == 1
    ownership.touch(storage, "/job", old.term)
    with pytest.raises(OwnerLives, match="belongs to a run that lives"):
        claim.acquire()


def test_who_comes_between_the_look_and_the_term_is_looked_at_too() -> None:
    storage, clock = InMemoryStorage(), Clock()
    run = a_run("mine")
    claim = Claim(storage, "/job", run, False, say=clock.said.append, now=clock.now, sleep=clock.sleep)
    assert claim.wait_until_free() == 0
    other = own(storage, a_run("nightly"))
    clock.meanwhile[10.0] = touched(storage, other)
    with pytest.raises(OwnerLives, match="belongs to a run that lives"):
        JobDir.acquire(storage, "/job", RECORD, run, claim)
    other.check_owner()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"run_id": 3}'])
def test_an_owner_that_died_while_it_took_its_term_is_stale(content: bytes) -> None:
    storage, clock = InMemoryStorage(), Clock()
    own(storage, a_run())
    storage.create("/job/_terms/t000002", content)
    assert own(storage, a_run(), clock).term == 3
    assert clock.time >= 30


def test_an_owner_that_has_not_said_who_it_is_yet_may_still_be_of_the_same_job() -> None:
    storage, clock = InMemoryStorage(), Clock()
    own(storage, a_run())
    storage.create("/job/_terms/t000002", b"{")

    def said() -> None:
        content = json.dumps(ownership.codec.encode(a_run())).encode()
        storage.remove("/job/_terms/t000002")
        storage.create("/job/_terms/t000002", content)
        storage.touch("/job/_terms/t000002")

    clock.meanwhile[2.0] = said
    assert own(storage, a_run(), clock).term == 3
    assert clock.time < 10


def until(condition: Callable[[], object], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lost(held: Lease) -> bool:
    try:
        held.ensure_held()
    except TakenOver:
        return True
    return False


def test_the_lease_shows_that_its_owner_lives_and_finds_out_that_it_was_replaced() -> None:
    storage = InMemoryStorage()
    old = own(storage, a_run("nightly", lease_s=3.0))
    with Lease(old) as held:
        with pytest.raises(OwnerLives, match="belongs to a run that lives"):
            JobDir.acquire(storage, "/job", RECORD, run := a_run("mine"), Claim(storage, "/job", run))
        held.sleep(0.3)
        start = time.monotonic()
        new = own(storage, a_run("mine"), take_over=True)
        until(lambda: lost(held))
        assert time.monotonic() - start < 3.0, "within its lease"
        with pytest.raises(TakenOver, match=new.run.run_id):
            held.sleep(60)


def test_a_storage_that_is_ill_does_not_end_the_run_and_the_lease_goes_on() -> None:
    storage = InMemoryStorage()
    old = own(storage, a_run("nightly", lease_s=0.3))
    with Lease(old) as held:
        storage.fault = Fault(storage.writes + 1)
        until(lambda: storage.writes >= storage.fault.at + 2)  # type: ignore[union-attr]
        held.ensure_held()


def test_the_lease_looks_often_enough() -> None:
    """Three touches a lease, and a look so often that roles are gone when the lease is over."""
    for lease_s in (3.0, 30.0, 600.0):
        held = Lease(own(InMemoryStorage(), a_run(lease_s=lease_s)))
        assert held._touch_s == lease_s / 3
        assert held._look_s <= min(lease.LOOK_S, lease_s / 6)


def test_of_racing_processes_of_different_jobs_exactly_one_owns_and_the_others_name_it(tmp_path: Path) -> None:
    race(str(tmp_path), rounds=8)
