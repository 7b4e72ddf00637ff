"""Publishing in a thread: retries, newer for older, and what ends the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest
from checkpoints import a_store, holds, newest, steps
from job_records import stage

from mxspark.errors import ClusterError, JobDirError, MXSparkError, TakenOver
from mxspark.jobdir.publisher import Delayed, Outcome, Published, Publisher, settle
from mxspark.protocol.events import Staged
from mxspark.storage.base import Gone, NoRoom, failed
from mxspark.storage.memory import InMemoryStorage


class Ill(InMemoryStorage):
    """A storage that fails every write for as long as it is ill."""

    error: Optional[MXSparkError] = None

    def make_folder(self, path: str, parents: bool = False) -> None:
        if self.error is not None:
            raise self.error
        super().make_folder(path, parents)


SAFE_MODE = failed("make", "/job", "HDFS is in safe mode")


class Rig:
    """A publisher of checkpoints into memory, and all it said."""

    def __init__(self, retry_s: float = 60.0) -> None:
        self.storage = Ill()
        self.store = a_store(self.storage)
        self.tries = 0
        self.publisher = Publisher(self._publish, retry_s, first_s=0.01)
        self.said: list[Outcome] = []

    def _publish(self, staged: Staged) -> str:
        self.tries += 1
        return self.store.commit(staged).path

    def take(self) -> None:
        self.said += self.publisher.outcomes()

    def until(self, condition: Callable[[], object], limit_s: float = 120.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.take()
            time.sleep(0.005)

    def settle(self) -> None:
        settle(self.publisher, self.take, time.sleep)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.publisher.close(5)


def test_what_is_staged_is_published_in_order(rig: Rig, tmp_path: Path) -> None:
    for step in (10, 20):
        rig.publisher.put(stage(tmp_path, step))
        rig.settle()
    assert [type(outcome) for outcome in rig.said] == [Published, Published]
    assert steps(rig.storage) == [20, 10]
    assert not rig.publisher.is_busy


def test_an_ill_storage_is_tried_again_until_it_is_well(rig: Rig, tmp_path: Path) -> None:
    rig.storage.error = SAFE_MODE
    rig.publisher.put(stage(tmp_path, 10))
    rig.until(lambda: rig.tries > 3)
    assert [type(outcome) for outcome in rig.said] == [Delayed], "one word for each that is staged"
    assert "safe mode" in rig.said[0].error.message  # type: ignore[union-attr]
    assert steps(rig.storage) == []
    rig.storage.error = None
    rig.settle()
    assert isinstance(rig.said[-1], Published) and steps(rig.storage) == [10]


def test_a_newer_checkpoint_takes_the_place_of_one_that_waits(rig: Rig, tmp_path: Path) -> None:
    rig.storage.error = SAFE_MODE
    staged = [stage(tmp_path, step) for step in (10, 20, 30)]
    for one in staged:
        rig.publisher.put(one)
        rig.until(lambda one=one: any(outcome.staged is one for outcome in rig.said))  # type: ignore[misc]
    rig.until(lambda: [Path(one.path).exists() for one in staged] == [False, False, True])  # older ones take no room
    rig.storage.error = None
    rig.settle()
    assert steps(rig.storage) == [30]
    assert holds(newest(a_store(rig.storage), tmp_path), 30)


def test_a_model_does_not_take_the_place_of_a_checkpoint(rig: Rig, tmp_path: Path) -> None:
    rig.storage.error = SAFE_MODE
    rig.publisher.put(stage(tmp_path, 10))
    rig.publisher.put(stage(tmp_path, 11, kind="model"))
    rig.until(lambda: rig.tries > 2)
    rig.storage.error = None
    rig.settle()
    assert [outcome.staged.step for outcome in rig.said if isinstance(outcome, Published)] == [10, 11]


@pytest.mark.parametrize("is_put_before", [True, False])
def test_a_checkpoint_behind_a_model_that_is_delayed_is_told_so(rig: Rig, is_put_before: bool, tmp_path: Path) -> None:
    """Rank 0 waits for that word: with a best model in hand, which is tried again and again, it would wait for ever."""
    rig.storage.error = SAFE_MODE
    staged = [stage(tmp_path, 9, kind="best"), stage(tmp_path, 10)]
    rig.publisher.put(staged[0])
    if not is_put_before:
        rig.until(lambda: rig.said)
    rig.publisher.put(staged[1])
    rig.until(lambda: len(rig.said) == 2)
    assert [type(outcome) for outcome in rig.said] == [Delayed, Delayed]
    assert [outcome.staged for outcome in rig.said] == staged
    rig.storage.error = None
    rig.settle()
    assert [outcome.staged for outcome in rig.said[2:]] == staged, "each once, and in order"


@pytest.mark.parametrize(
    ("error", "kind"), [(SAFE_MODE, ClusterError), (NoRoom("no room to write: the quota of /job"), JobDirError)]
)
def test_a_storage_that_stays_ill_ends_the_run_after_a_while(
    error: MXSparkError, kind: type[MXSparkError], tmp_path: Path
) -> None:
    rig = Rig(retry_s=0.1)
    rig.storage.error = error
    staged = stage(tmp_path, 10)
    rig.publisher.put(staged)
    with pytest.raises(kind, match=r"(?s)(safe mode|quota).*tried again for checkpoint\.retry_s = 0\.1 s"):
        rig.settle()
    assert rig.tries > 1 and Path(staged.path).exists()


@pytest.mark.parametrize(
    "error", [TakenOver("another run"), JobDirError("user 'ann' may not write"), Gone("no JVM")], ids=lambda e: str(e)
)
def test_what_no_time_heals_ends_the_run_at_once(rig: Rig, error: MXSparkError, tmp_path: Path) -> None:
    rig.storage.error = error
    rig.publisher.put(stage(tmp_path, 10))
    with pytest.raises(type(error), match=str(error)):
        rig.settle()
    assert rig.tries == 1


def test_a_mistake_in_the_thread_is_not_swallowed(tmp_path: Path) -> None:
    def broken(_staged: Staged) -> str:
        raise ZeroDivisionError("oh")

    publisher = Publisher(broken, 60)
    publisher.put(stage(tmp_path, 10))
    with pytest.raises(MXSparkError, match=r"publishing failed: ZeroDivisionError\('oh'\)"):
        settle(publisher, lambda: publisher.outcomes(), time.sleep)  # type: ignore[arg-type, return-value]


def test_closing_waits_for_what_is_in_hand_and_ends_retries(tmp_path: Path) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(staged: Staged) -> str:
        began.set()
        go.wait(120)
        return staged.path

    publisher = Publisher(slow, 60)
    publisher.put(stage(tmp_path, 10))
    began.wait(120)
    threading.Timer(0.1, go.set).start()
    publisher.close(100)
    assert [type(outcome) for outcome in publisher.outcomes()] == [Published]
    rig = Rig()
    rig.storage.error = SAFE_MODE
    rig.publisher.put(stage(tmp_path, 20))
    rig.until(lambda: rig.tries > 0)
    start = time.monotonic()
    rig.publisher.close(100)
    assert time.monotonic() - start < 50


def test_the_training_is_told_to_go_on_at_the_first_failure_not_at_the_last(rig: Rig, tmp_path: Path) -> None:
    """A worker waits for the word on one checkpoint before it stages the next; an ill storage must not stop it."""
    rig.storage.error = SAFE_MODE
    rig.publisher.put(stage(tmp_path, 10))
    start = time.monotonic()
    rig.until(lambda: rig.said)
    assert time.monotonic() - start < 50
