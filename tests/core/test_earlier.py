"""A driver in a cluster that YARN has started again says what came of the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Optional

from job_records import RECORD, a_run

from mxspark.errors.cause import Cause
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.ownership import Claim
from mxspark.result import FAILED, SUCCEEDED, TERMINATED, FailedAttempt, Result, rows
from mxspark.spark.run import earlier
from mxspark.spark.run.standing import Standing
from mxspark.storage.memory import InMemoryStorage

HERE = "application_1_1"


def driver(storage: InMemoryStorage, application: Optional[str] = HERE) -> JobDir:
    """Return a job dir that has come to the next driver of an application."""
    run = replace(a_run(), application=application)
    return JobDir.acquire(storage, "/job", RECORD, run, Claim(storage, "/job", run))


def leave(owned: JobDir, result: Result) -> None:
    owned.write_run_file("result.json", json.dumps(result.to_dict()).encode())


def ends(storage: InMemoryStorage) -> tuple[FailedAttempt, ...]:
    return earlier.attempts(driver(storage), workers=2, resumed=7)


def test_a_driver_that_was_killed_is_an_attempt_that_failed() -> None:
    storage = InMemoryStorage()
    driver(storage, "application_1_0")
    killed = driver(storage)
    (attempt,) = ends(storage)
    assert (attempt.number, attempt.workers, attempt.how) == (0, 2, "application")
    assert (attempt.reached, attempt.resumed) == (7, 7), "nothing is known but the checkpoint"
    cause = attempt.cause
    assert (cause.kind, cause.role, cause.host, cause.pid) == ("killed", "driver", "here", 123)
    assert f"it ended without a word (run {killed.run.run_id}): it was killed" in cause.message
    assert len(ends(storage)) == 2, "of three drivers the last one tells of both"


def test_one_that_has_said_how_it_ended_is_told_in_its_words() -> None:
    storage = InMemoryStorage()
    cause = Cause("memory", "worker", 1, "there", 5, "ran out of memory")
    leave(driver(storage), Result(FAILED, "a", "no", steps=9, cause=cause))
    leave(driver(storage), Result(TERMINATED, "b", "SIGTERM; the same command resumes", steps=11))
    leave(driver(storage), Result(SUCCEEDED, "c", "", steps=12))
    failed, stopped = ends(storage)
    assert (failed.cause, failed.reached) == (cause, 9)
    assert (stopped.cause.kind, stopped.reached) == ("interrupted", 11) and "SIGTERM" in stopped.cause.message


def test_drivers_of_others_and_outside_of_a_cluster_are_no_attempts() -> None:
    storage = InMemoryStorage()
    driver(storage)
    driver(storage, "application_1_2")
    assert not ends(storage), "another application was at work in between"
    driver(storage, None)
    assert not earlier.attempts(driver(storage, None), workers=2, resumed=7)


def test_they_stand_before_the_attempts_of_this_driver() -> None:
    storage, standing = InMemoryStorage(), Standing()
    driver(storage)
    standing.note_earlier(ends(storage))
    standing.fail(Cause("killed", "worker", 0, "h", 1, "x"), 1, 2, is_whole=True)
    assert [attempt.number for attempt in standing.failed_attempts] == [0, 1]
    named = dict(rows(Result(SUCCEEDED, "r", "", attempts=standing.failed_attempts)))
    assert named["driver before"].startswith("failed at step 7: the driver on here (pid 123): it ended without a word")
