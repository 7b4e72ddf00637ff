"""The driver's side of a gang, with a stand-in for its agent and for Spark: what is done in which phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from mxspark.config.job_config import JobConfig
from mxspark.errors import ClusterError, InternalError
from mxspark.errors.cause import Cause
from mxspark.protocol.commands import Command
from mxspark.protocol.events import Beat, Ended, Event, Listening, Reported
from mxspark.spark.run import gang as gangs
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.gang import Gang
from mxspark.spark.run.shutdown import Shutdown
from mxspark.spark.session.session import SessionFacts

KILLED = Cause("role", "worker", 1, "h", 7, "killed by SIGKILL", signal="SIGKILL")
BUNDLE: Any = None


class Agent:
    """Says what it is given to say, None for a moment of silence, and keeps a diary."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.has_ended = False
        self.diary: list[str] = []
        self.says: list[Optional[Event]] = []

    def wait_for_address(self, receive: Any) -> tuple[str, int]:
        reported = receive()
        return reported.event.address

    def receive(self) -> Reported:
        event = self.says.pop(0) if self.says else None
        if event is None:
            raise TimeoutError
        return Reported("driver", 0, event)

    def tell(self, command: Command) -> None:
        self.diary.append(type(command).__name__)

    def end(self, why: str) -> None:
        self.diary.append(f"end: {why}")

    def clean_up(self) -> None:
        self.diary.append("clean up")


class Stage:
    """Runs until it is told not to."""

    def __init__(self, *_: Any) -> None:
        self.runs = True
        self.closed = 0

    def is_running(self) -> bool:
        return self.runs

    def ensure_in_use(self) -> None:
        if not self.runs:
            raise Cause.here("stage", "driver", "Spark ended the workers' stage").as_error()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def gang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gang:
    """A gang that has begun its first attempt."""
    monkeypatch.setattr(gangs, "DriverAgent", Agent)
    monkeypatch.setattr(gangs, "BarrierStage", Stage)
    monkeypatch.setattr(gangs.codec, "encode", lambda _value: {})
    spark: Any = type("Session", (), {"sparkContext": None})()
    job = JobConfig.from_dict(
        {
            "job": {"dir": str(tmp_path / "job")},
            "data": {"path": "x", "features": {"x": {}}, "label": {"y": {"classes": 2}}},
            "training": {"network": "a:b", "loss": "softmax_cross_entropy", "epochs": 1, "batch_size": 4},
            "cluster": {"num_workers": 2},
        }
    )
    made = Gang(RunContext(job, SessionFacts(spark), "r", tmp_path, _NoDisplay(), Shutdown()), 2, 1)
    agent(made).says = [Listening(("127.0.0.1", 7))]
    made.begin(BUNDLE)
    return made


class _NoDisplay:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def agent(of: Gang) -> Any:
    return of._agent


def failed(gang: Gang, ended: Ended) -> None:
    agent(gang).says = [Beat(1, 0, 4, 1.0, 0.0), None, ended]
    assert [type(reported.event) for reported in gang.events()] == [Beat, Ended]


def test_an_attempt_that_failed_may_be_followed_by_one_on_the_same_agents(gang: Gang) -> None:
    assert not gang.can_restart_in_place(), "one is being made"
    failed(gang, Ended(KILLED))
    assert gang.can_restart_in_place()
    gang.restart(BUNDLE)
    assert (gang.attempt, gang.ended, agent(gang).diary) == (2, None, ["Begin", "Begin"])


def test_no_attempt_follows_where_an_agent_or_the_stage_is_lost(gang: Gang) -> None:
    failed(gang, Ended(KILLED, lost=(1,)))
    assert not gang.can_restart_in_place()


def test_no_attempt_follows_on_a_stage_that_spark_has_ended(gang: Gang) -> None:
    failed(gang, Ended(KILLED))
    stage: Any = gang._stage
    stage.runs = False
    assert not gang.can_restart_in_place()


def test_the_last_words_of_the_agent_come_before_the_end_of_the_stage(gang: Gang) -> None:
    """They say why; that the stage is over is only what came of it."""
    stage: Any = gang._stage
    stage.runs = False
    failed_last = [Beat(1, 0, 4, 1.0, 0.0), Ended(KILLED)]
    agent(gang).says = list(failed_last)
    assert [reported.event for reported in gang.events()] == failed_last
    with pytest.raises(ClusterError, match="Spark ended the workers' stage"):
        gang.drain(5.0)


def test_agents_that_have_succeeded_end_by_themselves(gang: Gang) -> None:
    failed(gang, Ended(None))
    gang.close()
    assert agent(gang).diary == ["Begin", "clean up"]


def test_a_gang_is_closed_once(gang: Gang) -> None:
    gang.close("slots are lost")
    gang.close()
    stage: Any = gang._stage
    assert (agent(gang).diary, stage.closed) == (["Begin", "end: slots are lost", "clean up"], 1)
    assert not gang.can_restart_in_place()


def test_a_step_that_cannot_be_is_refused(gang: Gang) -> None:
    with pytest.raises(InternalError, match="the gang cannot go from ATTEMPT to ATTEMPT"):
        gang.restart(BUNDLE)
    gang.close()
    with pytest.raises(InternalError, match="the gang cannot go from CLOSED to ATTEMPT"):
        gang.restart(BUNDLE)
