"""What a run does after a failure: a table, and the account of what was lost."""

from __future__ import annotations

import ast
import io
import os
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Optional

import pytest
from rich.console import Console

import mxspark
from mxspark import errors
from mxspark.errors import MXSparkError
from mxspark.errors import cause as failure
from mxspark.errors.cause import Cause
from mxspark.errors.kinds import KINDS, Kind
from mxspark.errors.restart import IN_PLACE, STAGE, STOP, Failed, Next, Policy, decide
from mxspark.protocol import codec, events
from mxspark.report.summary import print_summary, rows
from mxspark.result import FAILED, INTERRUPTED, SUCCEEDED, FailedAttempt, Result, cause_of, with_cause
from mxspark.spark.run import lost
from mxspark.spark.run.downtime import Downtime

POLICY = Policy(max_restarts=3, backoff_s=2.0)
KILLED = Cause("role", "worker", 1, "h", 7, "killed by SIGKILL", signal="SIGKILL")
CRASHED = Cause("role", "worker", 1, "h", 7, "killed by SIGSEGV", signal="SIGSEGV")
EXITED = Cause("role", "worker", 1, "h", 7, "ended with exit code 3", exit_code=3)


def failed(cause: Cause = KILLED, began: int = 0, progressed: bool = False, whole: bool = True) -> Failed:
    return Failed(cause, began, progressed, whole)


def of_kind(kind: str) -> Failed:
    return failed(Cause(kind, "worker", 0, "h", 7, "so it is"))


@pytest.mark.parametrize("kind", ["role", "agent", "stage", "hang", "start", "stopped"])
def test_what_may_heal_is_tried_again_at_once(kind: str) -> None:
    assert decide([of_kind(kind)], POLICY) == Next(IN_PLACE, 0.0, "restart 1 of 3")


@pytest.mark.parametrize(
    "kind", ["training", "diverged", "input", "memory", "disk", "limit", "host", "internal", "interrupted"]
)
def test_what_would_come_again_is_not(kind: str) -> None:
    step = decide([of_kind(kind)], POLICY)
    assert (step.action, step.wait_s) == (STOP, 0.0) and step.reason


def test_a_lost_agent_means_a_new_stage() -> None:
    assert decide([failed(whole=False)], POLICY).action == STAGE


def test_restarts_are_counted_and_wait_longer_each_time() -> None:
    steps = [decide([failed()] * count, POLICY) for count in range(1, 6)]
    assert [step.action for step in steps] == [IN_PLACE] * 3 + [STOP] * 2
    assert [step.wait_s for step in steps[:3]] == [0.0, 2.0, 4.0]
    assert steps[3].reason == "3 restarts without progress (failure.max_restarts = 3)"
    assert decide([failed()] * 10, Policy(20, 2.0)).wait_s == 60.0, "no longer than that"
    assert decide([failed()], Policy(0, 2.0)).action == STOP


def test_progress_starts_the_count_anew() -> None:
    history = [failed(), failed(), failed(), failed(progressed=True)]
    assert decide(history, POLICY) == Next(IN_PLACE, 0.0, "restart 1 of 3")
    assert decide([*history, failed()], POLICY) == Next(IN_PLACE, 2.0, "restart 2 of 3")
    assert decide([*history, failed(), failed(), failed()], POLICY).action == STOP
    assert decide([failed(progressed=True)] * 100, POLICY).action == IN_PLACE


@pytest.mark.parametrize("cause", [CRASHED, EXITED, Cause("hang", "worker", 0, "h", 7, "no progress")])
def test_its_own_doing_twice_on_the_same_way_is_no_chance(cause: Cause) -> None:
    assert decide([failed(cause, 8)], POLICY).action == IN_PLACE
    step = decide([failed(cause, 8), failed(replace(cause, pid=8), 8)], POLICY)
    assert step.action == STOP and "twice in a row, both times between step 8 and the next checkpoint" in step.reason
    assert decide([failed(cause, 8), failed(cause, 12)], POLICY).action == IN_PLACE, "it came further"
    assert decide([failed(cause, 8, progressed=True), failed(cause, 8)], POLICY).action == IN_PLACE
    assert decide([failed(cause, 8), failed(KILLED, 8), failed(cause, 8)], POLICY).action == IN_PLACE, "not in a row"


def test_what_comes_from_outside_may_come_twice() -> None:
    for cause in (KILLED, Cause("hang", "server", 0, "h", 7, "stopped", signal="SIGSTOP")):
        assert decide([failed(cause, 8)] * 2, POLICY).action == IN_PLACE


def test_a_checkpoint_that_is_put_in_hand_after_the_failure_makes_no_loss_smaller_than_the_pause() -> None:
    now = [0.0]
    downtime = Downtime(lambda: now[0])
    now[0] = 40.0
    downtime.note_trouble()
    downtime.note_checkpoint(40.5)  # what was staged before may still be committed
    downtime.note_failure(1, 2, KILLED, 30)
    downtime.note_decision(Next(IN_PLACE, 0.0, "why"), 30)
    now[0] = 50.0
    downtime.note_step()
    (attempt,) = downtime.attempts
    assert (attempt.down_s, attempt.lost_s) == (10.0, 10.0)


def test_every_second_counts_or_is_lost_to_one_failure() -> None:
    now = [0.0]

    def at(seconds: float) -> None:
        now[0] = seconds

    downtime = Downtime(lambda: now[0])
    downtime.note_step()  # of the first attempt: nothing was lost yet
    downtime.note_checkpoint(10.0)
    at(14.0)
    downtime.note_trouble()
    at(15.0)
    downtime.note_failure(1, 2, KILLED, 30)
    assert downtime.note_decision(Next(IN_PLACE, 0.0, "why"), 20).resumed == 20
    at(18.0)
    downtime.note_failure(2, 2, KILLED, 20)  # before its first step
    at(20.0)
    downtime.note_step()
    at(25.0)
    downtime.note_failure(3, 2, KILLED, 24)
    at(27.0)
    downtime.note_step()
    assert [(attempt.number, attempt.down_s, attempt.lost_s) for attempt in downtime.attempts] == [
        (1, 4.0, 8.0),
        (2, 2.0, 2.0),
        (3, 2.0, 7.0),
    ]


def test_a_last_attempt_has_no_next_step() -> None:
    downtime = Downtime(lambda: 1.0)
    downtime.note_failure(1, 2, KILLED, 3)
    last: Optional[float] = downtime.note_decision(Next(STOP, 0.0, "enough"), 0).down_s
    assert last is None and downtime.attempts[0].how == STOP


def test_every_kind_has_a_remedy_of_its_own_and_the_summary_shows_it() -> None:
    remedies = [kind.remedy for kind in KINDS.values()]
    assert all(remedies) and len(set(remedies)) == len(KINDS)
    result = with_cause(Result(FAILED, "run", "sad"), CRASHED)
    assert ("next", KINDS["role"].remedy) in rows(result) and result.to_dict()["remedy"] == KINDS["role"].remedy


def test_what_the_message_says_is_not_said_again_by_the_attempt() -> None:
    said = CRASHED.describe().splitlines()[0]
    attempts = tuple(FailedAttempt(number, 2, cause, 5, 5, STOP, "") for number, cause in ((1, KILLED), (2, CRASHED)))
    shown = dict(rows(Result(FAILED, "run", f"{said}\nKeyError: 'x'", attempts=attempts)))
    assert shown["attempt 1"] == f"failed at step 5: {KILLED.describe().splitlines()[0]}"
    assert shown["attempt 2"] == "failed at step 5, as is said above"


def test_what_reads_as_a_question_of_a_result_is_one() -> None:
    outcomes = [Result(status, "run", "so it is") for status in (SUCCEEDED, FAILED, INTERRUPTED)]
    assert [result.failed for result in outcomes] == [False, True, False]


def test_every_kind_has_its_row_in_the_documentation_and_no_row_is_without_a_kind() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "failures.md").read_text()
    section = page.split("## Kinds of failures")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == [
        f"| `{kind.name}` | {kind.meaning} | `{kind.error.__name__}` | "
        f"{'yes' if kind.heals else 'no: ' + kind.why_hopeless} |"
        for kind in KINDS.values()
    ]


def test_a_kind_without_a_row_is_refused_where_a_cause_is_made_or_arrives() -> None:
    with pytest.raises(ValueError, match="no kind of failure is called 'new'; use one of role, agent"):
        Cause("new", "worker", 0, "h", 7, "so it is")
    plain = codec.encode(events.Ended(KILLED))
    plain["cause"]["kind"] = "new"
    with pytest.raises(ValueError, match="'new'"):
        codec.decode(events.Ended, plain)
    with pytest.raises(ValueError, match="'mxspark'"):
        events.Raised("mxspark", "KeyError", "'x'", "")


def test_every_trait_of_a_kind_is_asked_for_somewhere() -> None:
    package = Path(mxspark.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "kinds.py")
    traits = {field.name for field in fields(Kind)} - {"name", "error", "meaning"}
    assert not {trait for trait in traits if f".{trait}" not in code}


def test_the_tree_of_errors_names_all_of_them() -> None:
    """By the text of the package: where they are defined may need MXNet or Spark."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for path in Path(mxspark.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    ours = {"MXSparkError"}
    while more := {name for name, above in bases.items() if above & ours} - ours:
        ours |= more
    tree = (errors.__doc__ or "").split("A Ctrl-C")[0]
    assert {word for line in tree.splitlines() for word in re.findall(r"^[ │├└─]*(\w+)", line)} >= ours
    assert len(ours) > 15


def test_every_error_is_of_a_kind_and_what_a_kind_becomes_is_of_that_kind() -> None:
    families = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, MXSparkError)]
    assert all(error.kind in KINDS for error in families)
    general = ("driver", "role", "input")  # an error that several kinds become
    assert all(kind.error.kind in (kind.name, *general) for kind in KINDS.values())


def test_a_mistake_of_ours_is_one_to_report_in_the_driver_too() -> None:
    """Not one to mend: it had the remedy of what the driver has found, "change what is named, then start again"."""
    found = cause_of(errors.InternalError("the plan counts 3 rows, the spools hold 4"))
    assert (found.kind, found.role, found.pid) == ("internal", "driver", os.getpid())
    assert found.traits.remedy.startswith("please report it")


def test_of_many_processes_that_were_left_the_first_are_named_and_the_others_counted() -> None:
    names = [f"sleep {number} (pid {number})" for number in range(1, 8)]
    few, many = failure.left_behind(0, names[:5]), failure.left_behind(1, names)
    assert few.startswith("worker 0 left") and few.endswith("sleep 5 (pid 5)")
    assert many.endswith("sleep 5 (pid 5) and 2 more (see the events)") and "sleep 6" not in many


def test_a_run_that_has_left_nothing_shows_no_id() -> None:
    early = Result(FAILED, "20260101T000000Z-aaaaaa", "there is no such column")
    assert rows(early) == []
    console = Console(file=io.StringIO(), width=100)
    print_summary(early, console)
    assert console.file.getvalue() == "failed: there is no such column\n"  # type: ignore[attr-defined]
    assert rows(replace(early, seconds={"check": 0.1}))[0] == ("run", early.run_id)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Command exited with code 137", "executor 1 (Command exited with code 137)"),
        (
            "Container from a bad node: container_7_01_000002 on host: node1. Exit status: 137. Diagnostics: killed",
            "executor 1 (Container from a bad node: container_7_01_000002 on host: node1. Exit status: 137. "
            "Diagnostics: killed)",
        ),
    ],
)
def test_the_executor_that_took_an_agent_along_is_named(reason: str, told: str) -> None:
    gone = Cause("agent", "agent", 1, "node1", 7, message="the process that started this agent is gone (it ended)")
    said = f"ResultTask(0, 0) failed: ExecutorLostFailure (executor 1 exited caused by a task) Reason: {reason}.\nTrace"
    error = lost.explained(gone.as_error(), said)
    assert error.cause is not None and error.cause.message == f"Spark lost {told}: {gone.message}"
    assert error.message.count(told) == 1 and error.message.endswith(gone.message)
    assert lost.explained(gone.as_error(), "another end").cause == gone
