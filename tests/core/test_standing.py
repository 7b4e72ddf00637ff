"""How far a run has come, from what is reported; and a request to end."""

from __future__ import annotations

import pytest

from mxspark.errors.cause import Cause
from mxspark.errors.restart import IN_PLACE, STOP, Next
from mxspark.job.spec import Restore
from mxspark.protocol.events import Beat, Done, EpochEnd, Event, Reported, Staged, Started
from mxspark.spark.run.shutdown import Shutdown, Terminated
from mxspark.spark.run.standing import Standing

KILLED = Cause("role", "worker", 1, "h", 7, "killed by SIGKILL", signal="SIGKILL")


def beat(step: int) -> Beat:
    return Beat(step, 0, 8, 1.0, 0.0)


def epoch(number: int, step: int) -> EpochEnd:
    return EpochEnd(number, step, 80, 1.0, {"loss": 0.5}, {})


def after(*events: Event, rank: int = 0) -> Standing:
    standing = Standing(lambda: 0.0)
    for event in events:
        standing.note(Reported("worker", rank, event))
    return standing


def test_a_beat_that_comes_late_takes_no_step_back() -> None:
    assert after(beat(5), beat(4)).step == 5
    assert after(beat(5), Staged("checkpoint", "/s", 7, 0, (), {})).step == 7
    assert after(beat(5), Done(9, "d", {})).step == 9


def test_an_epoch_counts_once_though_every_rank_reports_it() -> None:
    standing = after(Started(0, 0, 12, {}), epoch(0, 10))
    standing.note(Reported("worker", 1, epoch(0, 10)))
    assert (standing.epochs, standing.step, len(standing.history), standing.parameters) == (1, 10, 1, 12)


def test_a_run_that_goes_on_has_the_epochs_of_the_runs_before() -> None:
    standing = after()
    standing.begin_at(Restore("/r", 20, 2, 0))
    assert (standing.epochs, standing.step, standing.history) == (2, 20, [])


def test_a_restart_forgets_what_came_after_the_checkpoint() -> None:
    standing = after(epoch(0, 10), epoch(1, 20), beat(23))
    standing.note_checkpoint("/c", 0.0)
    (failed,) = standing.fail(KILLED, 1, 2, is_whole=True)
    assert (failed.began, failed.has_progressed, failed.is_whole) == (0, True, True)
    attempt = standing.follow(Next(IN_PLACE, 0.0, "why"), Restore("/r", 12, 1, 2))
    assert (attempt.reached, attempt.resumed) == (23, 12)
    assert (standing.step, [done.epoch for done in standing.history]) == (12, [0])
    first, again = standing.fail(KILLED, 2, 2, is_whole=True)
    assert first == failed
    assert (again.began, again.has_progressed) == (12, False), "the checkpoint was of the attempt before"


def test_a_run_that_stops_says_how_far_it_had_come() -> None:
    standing = after(epoch(0, 10), beat(13))
    standing.fail(KILLED, 1, 2, is_whole=True)
    standing.follow(Next(STOP, 0.0, "enough"), None)
    assert (standing.step, standing.epochs, standing.failed_attempts[0].how) == (13, 1, STOP)


def test_a_request_is_passed_on_once_and_bounded() -> None:
    now = [100.0]
    shutdown = Shutdown(lambda: now[0])
    with shutdown.heeded():
        assert shutdown.take_request() is None
        shutdown.expect_within(5.0)
        shutdown.request("SIGTERM")
        assert [shutdown.take_request(), shutdown.take_request(), shutdown.why] == ["SIGTERM", None, "SIGTERM"]
        now[0] += 5.5
        with pytest.raises(Terminated, match=r"^SIGTERM; there was no last checkpoint within failure\.grace_s = 5 s$"):
            shutdown.expect_within(5.0)


def test_a_request_that_is_repeated_or_that_nobody_heeds_ends_at_once() -> None:
    shutdown = Shutdown()
    with pytest.raises(Terminated, match="early"):
        shutdown.request("early")
    with shutdown.heeded():
        shutdown.request("SIGTERM")
        with pytest.raises(Terminated, match="again"):
            shutdown.request("again")
    with pytest.raises(Terminated, match="late"):
        shutdown.request("late")
