"""The decisions of the driver's agent, step by step on a clock moved by hand."""

from __future__ import annotations

from typing import Optional

import pytest

from mxspark.agent.attempt import STEPS, Attempt, Phase
from mxspark.agent.decide import Decision, decide
from mxspark.agent.diagnosis import blame
from mxspark.errors import InternalError
from mxspark.errors.cause import Cause
from mxspark.protocol import events
from mxspark.protocol.specs import DRIVER, DriverAgentSpec, Limits, Who

IDENTITY = "boot/1:2/0"
LIMITS = Limits(start_s=10, hang_s=5, lease_s=3, shutdown_s=4)
SLOT_OF: dict[Who, Optional[int]] = {("scheduler", 0): None, ("server", 0): 0, ("worker", 0): 0, ("worker", 1): 1}
IDLE, GATHERING, RUNNING = map(Decision, (Phase.IDLE, Phase.GATHERING, Phase.RUNNING))


def fresh(same_host: bool = True) -> Attempt:
    """Return the first attempt of two workers, which the driver has not begun."""
    spec = DriverAgentSpec("run-1", 2, "127.0.0.1", "s", LIMITS, (), "logs", IDENTITY, same_host)
    return Attempt(spec, "driver-host", 1)


def joined(rank: int, identity: str = IDENTITY) -> events.Joined:
    """An agent on host ``h<rank>``."""
    return events.Joined(rank, f"h{rank}", identity, 100 + rank)


def attempt(upto: str = "training") -> Attempt:
    """Return an attempt that came as far as `upto`; each phase takes a second."""
    made = fresh()
    made.begin(0.0)
    for rank in range(2):
        assert decide(made, 0.0) == GATHERING
        made.join(joined(rank))
    assert decide(made, 0.0) == RUNNING, "every agent is there, so that every role can have its place"
    made.place(SLOT_OF)
    for index, (role, rank) in enumerate(SLOT_OF):
        made.record(None, events.RoleStarted(role, rank, 1000 + index, "log"), 1.0)
    for phase, event in (("formed", "Formed"), ("training", "Started"), ("done", "Done")):
        if upto == "started":
            break
        for rank in range(2):
            said = {
                "Formed": events.Formed(rank, 1.0),
                "Started": events.Started(0, 0, 1, {}),
                "Done": events.Done(9, "d", {}),
            }[event]
            made.record(("worker", rank), said, {"formed": 2.0, "training": 3.0, "done": 4.0}[phase])
        if upto == phase:
            break
    return made


def cause_at(made: Attempt, now: float) -> Cause:
    """Return why the attempt fails."""
    decision = decide(made, now)
    assert decision.phase is Phase.FAILING and decision.cause is not None
    assert decide(made, now) == decision, "asking twice changes nothing"
    return decision.cause


def test_before_the_driver_began_nothing_is_late() -> None:
    made = fresh()
    assert decide(made, 1e9) == IDLE


@pytest.mark.parametrize(
    ("upto", "last_good", "kind"), [("started", 9.9, "start"), ("formed", 11.9, "start"), ("training", 7.9, "hang")]
)
def test_every_phase_has_its_deadline(upto: str, last_good: float, kind: str) -> None:
    made = attempt(upto)
    assert decide(made, last_good) == RUNNING
    assert cause_at(made, last_good + 0.2).kind == kind


def test_who_is_missing_is_named_and_the_culprit_first() -> None:
    made = attempt("started")
    made.record(("worker", 0), events.Loaded(1.0), 2.0)
    made.record(("server", 0), events.Loaded(1.0), 2.0)
    made.record(("scheduler", 0), events.Loaded(1.0), 2.0)
    cause = cause_at(made, 11.0)
    assert (cause.role, cause.rank, cause.host, cause.pid) == ("worker", 1, "h1", 1003)
    assert "worker 1 has not loaded MXNet; scheduler 0 waits for the others; server 0" in cause.message


def test_once_the_last_agent_has_come_too_late_it_is_the_roles_that_are_missing() -> None:
    made = fresh()
    made.begin(0.0)
    for rank in range(2):
        made.join(joined(rank))
    assert decide(made, 10.05) == RUNNING, "roles that are not placed have no names"
    made.place(SLOT_OF)
    assert "was not started" in cause_at(made, 10.05).message


@pytest.mark.parametrize(
    "event",
    [
        events.Beat(4, 0, 1, 1.0, 0.0),
        events.EpochEnd(0, 4, 1, 1.0, {}, {}),
        events.Staged("checkpoint", "/x", 4, 0, (), {}),
    ],
)
def test_any_progress_of_any_worker_postpones_the_hang(event: events.Event) -> None:
    made = attempt()
    made.record(("worker", 0), event, 7.0)
    assert decide(made, 11.9) == RUNNING
    cause = cause_at(made, 12.0)
    assert (cause.role, cause.rank, cause.step) == ("worker", 1, 4)
    assert "no progress since step 0" in cause.message and "0 at step 4, 1 at step 0" in cause.message


def test_a_worker_that_gets_on_before_its_first_step_is_not_late() -> None:
    made = attempt("formed")
    made.record(("worker", 1), events.Preparing(10, 100), 9.0)
    assert decide(made, 18.9) == RUNNING
    assert cause_at(made, 19.1).kind == "start"


def test_the_first_failure_is_the_cause_and_the_others_follow() -> None:
    made = attempt()
    made.record(("worker", 1), events.Raised("training", "KeyError", "'x'", "trace", 3), 4.0)
    made.record(None, events.RoleEnded("worker", 1, 1003, 1, False, "log"), 4.1)
    made.record(None, events.RoleEnded("server", 0, 1001, -9, False, "tail"), 4.2)
    cause = cause_at(made, 4.2)
    assert (cause.kind, cause.rank, cause.host, cause.pid, cause.traceback) == ("training", 1, "h1", 1003, "trace")
    assert [(other.role, other.exit_code, other.signal) for other in made.failures[1:]] == [
        ("worker", 1, None),
        ("server", None, "SIGKILL"),
    ]
    assert made.failures[2].log_tail == "tail" and made.failures[2].host == "h0"


def test_expected_ends_are_none() -> None:
    made = attempt()
    made.record(None, events.RoleEnded("server", 0, 1001, 0, True, ""), 4.0)
    assert decide(made, 4.0) == RUNNING


def test_for_an_agent_on_another_host_only_what_can_work_is_proposed() -> None:
    """It said to set transport.mode: tcp, with which the next run failed alike: every job wants one host."""
    made = fresh()
    made.join(joined(1, "another-boot/1:2/0"))
    cause = cause_at(made, 0.0)
    assert cause.kind == "host" and "run all tasks on the driver's host" in cause.message
    assert "transport" not in cause.describe() + cause.traits.remedy


def test_a_lost_agent_counts_once() -> None:
    made = attempt()
    assert decide(made, 4.0) == RUNNING
    made.lose(1, "gone")
    made.lose(1, "gone")
    assert cause_at(made, 4.0) == made.failures[0] and len(made.failures) == 1
    assert (made.failures[0].kind, made.failures[0].host, made.failures[0].pid) == ("agent", "h1", 101)


def test_an_agent_that_says_it_has_ended_before_the_attempt_has_is_lost() -> None:
    """As one does whose lease ran out: its connection breaks later, and that must not be the first that counts."""
    made = attempt()
    made.record(None, events.Stopped(0), 4.0)
    made.lose(0, "the connection broke")
    assert cause_at(made, 4.0).message == "its agent has ended, without being asked" and len(made.failures) == 1


def test_done_by_all_with_one_digest_finishes() -> None:
    made = attempt("done")
    assert decide(made, 4.0) == Decision(Phase.FINISHING)
    made = attempt("done")
    made.role(("worker", 1)).digest = "other"
    cause = cause_at(made, 4.0)
    assert (cause.kind, cause.rank) == ("internal", 1) and "worker 0: d, worker 1: other" in cause.message
    made.role(("worker", 1)).digest = None
    assert decide(made, 4.0) == RUNNING


@pytest.mark.parametrize("phase", [Phase.FAILING, Phase.FINISHING])
def test_it_has_ended_when_nobody_is_left(phase: Phase) -> None:
    made = attempt("done")
    made.step_to(phase)
    assert decide(made, 1e9) == Decision(phase)
    made.agents.cleared.add(DRIVER)
    made.record(None, events.Stopped(0), 5.0)
    assert decide(made, 1e9) == Decision(phase)
    made.lose(1, "gone")
    assert not made.failures, "after the verdict a lost agent is no news"
    assert decide(made, 1e9) == Decision(Phase.OVER)


def test_a_step_that_is_not_allowed_is_a_mistake_of_ours() -> None:
    """Every phase can be reached, every step but those of the table is refused, and nothing follows the end."""
    assert {Phase.IDLE}.union(*STEPS.values()) == set(Phase) == set(STEPS) and not STEPS[Phase.OVER]
    for phase in Phase:
        for to in Phase:
            made = fresh()
            made.phase = phase
            if to in STEPS[phase]:
                made.step_to(to)
                assert made.phase is to
            else:
                with pytest.raises(InternalError, match=f"attempt 1 cannot go from {phase.name} to {to.name}"):
                    made.step_to(to)


@pytest.mark.parametrize(
    ("identity", "words"), [("other/1:2/0", "different hosts"), ("boot/1:2/7", "different users (uid 0 and 7)")]
)
def test_another_host_or_user_is_refused(identity: str, words: str) -> None:
    made = fresh()
    made.join(joined(1, identity))
    cause = cause_at(made, 0.0)
    assert words in cause.message and "h1" in cause.message and "driver-host" in cause.message
    made = fresh(same_host=False)
    made.join(joined(1, identity))
    assert decide(made, 0.0) == IDLE


def test_an_attempt_ends_early_at_the_first_step_that_no_worker_has_passed() -> None:
    made = attempt()
    assert made.is_training() and made.last_step() is None
    made.record(("worker", 0), events.Ready(7), 3.0)
    assert made.last_step() is None, "the other may be further"
    made.record(("worker", 1), events.Ready(9), 3.0)
    assert made.last_step() == 9
    made.step_to(Phase.FAILING)
    assert not made.is_training()


def test_an_attempt_that_has_not_started_to_train_cannot_end_early() -> None:
    assert not attempt("formed").is_training()


def examined(made: Attempt, *found: tuple[str, int, str, str]) -> None:
    for role, rank, state, inside in found:
        made.record(None, events.Examined(role, rank, state, inside), 9.0)


@pytest.mark.parametrize(
    ("found", "role", "rank", "words"),
    [
        ([("worker", 0, "S", "f (a.py, line 1)"), ("server", 0, "T", "")], "server", 0, "stopped by a signal"),
        ([("worker", 0, "S", "f (a.py, line 1)"), ("worker", 1, "D", "")], "worker", 1, "blocked in the kernel"),
        ([("worker", 0, "S", ""), ("worker", 1, "R", "f (a.py, line 1)")], "worker", 1, "is in f (a.py, line 1)"),
        ([("worker", 0, "S", ""), ("worker", 1, "S", "")], "worker", 0, "no progress since step 0"),
    ],
)
def test_who_is_at_fault_when_nothing_moves(
    found: list[tuple[str, int, str, str]], role: str, rank: int, words: str
) -> None:
    made = attempt()
    cause = cause_at(made, 9.0)
    examined(made, *found)
    blamed = blame(made, cause)
    assert (blamed.kind, blamed.role, blamed.rank) == ("hang", role, rank)
    assert words in blamed.message and "no progress since step 0" in blamed.message
    assert blamed.signal == ("SIGSTOP" if found[1][2] == "T" else None)


def test_a_role_that_an_agent_saw_stopped_is_at_fault_while_the_others_go_on() -> None:
    made = attempt()
    made.record(("worker", 0), events.Beat(4, 0, 1, 1.0, 0.0), 7.0)
    examined(made, ("server", 0, "T", ""))
    cause = cause_at(made, 7.1)
    assert (cause.kind, cause.role, cause.pid) == ("hang", "server", 1001)
    blamed = blame(made, cause)
    assert (blamed.role, blamed.signal) == ("server", "SIGSTOP")
    assert "stopped by a signal" in blamed.message and "it stood still for failure.hang_s = 5 s" in blamed.message


def test_the_next_attempt_keeps_the_agents_and_nothing_else() -> None:
    made = attempt()
    made.lose(1, "gone")
    assert made.lost(None) == (1,)
    following = made.next()
    assert (following.number, following.phase, following.agents.joined) == (2, Phase.IDLE, made.agents.joined)
    assert not (following.roles or following.failures or following.agents.cleared or following.begun_at)
    following.begin(20.0)
    assert cause_at(following, 20.0).message == "gone", "lost between the attempts"


def test_agents_that_have_cleared_count_only_for_their_attempt() -> None:
    made = attempt()
    made.step_to(Phase.FAILING)
    made.agents.cleared.add(DRIVER)
    made.record(None, events.Cleared(0, 1), 5.0)
    made.record(None, events.Cleared(1, 7), 5.0)
    assert decide(made, 5.0) == Decision(Phase.FAILING)
    made.record(None, events.Cleared(1, 1), 5.0)
    assert decide(made, 5.0) == Decision(Phase.OVER) and made.lost(None) == ()
    made.phase = Phase.FINISHING
    assert decide(made, 5.0) == Decision(Phase.FINISHING), "after success the agents end"


def test_slots_that_never_came_in_time_are_lost_too() -> None:
    made = fresh()
    made.begin(0.0)
    made.join(joined(0))
    assert made.lost(cause_at(made, 11.0)) == (1,) and made.lost(None) == ()
