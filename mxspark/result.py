"""What a training run hands back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Optional

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.errors.spelling import short_names
from mxspark.model import Model
from mxspark.protocol import codec
from mxspark.protocol.events import EpochEnd

SUCCEEDED = "succeeded"
FAILED = "failed"
INTERRUPTED = "interrupted"
TERMINATED = "terminated"

_CHECKPOINT = re.compile(r"/s(\d{8,})-t\d{6,}$")  # what a job dir calls one


@dataclass(frozen=True)
class FailedAttempt:
    """One attempt of a run that failed.

    Attributes
    ----------
    number : int
        Counts from 1; that of an earlier driver of the same application is 0.
    workers : int
        How many it had.
    cause : Cause
        What failed first.
    reached, resumed : int
        Step it had come to, and the step at which the next attempt went on.
    how : str
        What came of it: restarted ``in place``, as a new ``stage``, by YARN, which has started the driver of the
        ``application`` again, or ``stop``; `reason` says why.
    down_s : float or None
        Seconds from the failure to the first step of the next attempt; None if there was none.
    lost_s : float or None
        Seconds whose work does not count: those, and the time since the checkpoint that was gone back to.
    """

    number: int
    workers: int
    cause: Cause
    reached: int
    resumed: int
    how: str
    reason: str
    down_s: Optional[float] = None
    lost_s: Optional[float] = None


@dataclass(frozen=True)
class Result:
    """The outcome of a run.

    Attributes
    ----------
    status : str
        ``succeeded``, ``failed``, ``interrupted`` or ``terminated`` (by SIGTERM).
    run_id : str
        Name of the run; its folder is ``<job dir>/runs/<run_id>``. One that ended before it owned the job dir has
        neither that nor `events`.
    message : str
        One sentence for people.
    epochs, steps : int
        Passes and steps done in all, earlier runs of the job included.
    rows_per_epoch : int
        Training rows.
    history : tuple of EpochEnd
        Metrics of each epoch of this run; where it found nothing left to train, of the run that did the last epoch.
    metrics : dict
        ``{"training": {"last": {…}, "best": {…}}, "validation": {…}}``. The best is of all epochs of the job, those of
        earlier runs too, as long as it is measured as before: of what names the best epoch the value of `best_model`.
        There is one only where its direction is known.
    seconds : dict
        Wall time by phase.
    rows_per_s : float
        Training rows of all workers a second, validation and checkpoints left out.
    checkpoint : str or None
        Newest committed checkpoint.
    model, best_model : Model or None
        The network after the last epoch, and after the best one where there is validation data.
    events : str or None
        The run's events as JSON lines; None of one that had none, as it found nothing left to train.
    cause : Cause or None
        After a failure, what failed first.
    remedy : str
        After a failure, what to do about it.
    attempts : tuple of FailedAttempt
        Those that failed, with their causes and the seconds they cost; empty for an undisturbed run.
    warnings : tuple of str
        What did not keep the run from going on, and should be known: a slow worker, a container that is too small.
    """

    status: str
    run_id: str
    message: str
    epochs: int = 0
    steps: int = 0
    rows_per_epoch: int = 0
    history: tuple[EpochEnd, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    rows_per_s: float = 0.0
    checkpoint: Optional[str] = None
    model: Optional[Model] = None
    best_model: Optional[Model] = None
    events: Optional[str] = None
    cause: Optional[Cause] = None
    remedy: str = ""
    attempts: tuple[FailedAttempt, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what the command line shows, as one block."""
        facts = rows(self)
        width = max((len(name) for name, _ in facts), default=0)
        lines = [f"  {name:{width}}  {value}" for name, value in facts]
        return "\n".join([f"Result: {self.status}: {self.message}", *lines])

    @property
    def checkpoint_step(self) -> Optional[int]:
        """The step that the newest checkpoint is of; None where there is none."""
        found = _CHECKPOINT.search(self.checkpoint or "")
        return int(found.group(1)) if found else None

    @property
    def failed(self) -> bool:
        """Whether the run failed; one that was interrupted or terminated did not."""
        return self.status == FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as one JSON object, as ``--result`` writes it."""
        plain = codec.encode(replace(self, model=None, best_model=None))
        plain["model"] = self.model.path if self.model else None
        plain["best_model"] = self.best_model.path if self.best_model else None
        return dict(_finite(plain))


def of_error(error: MXSparkError, run_id: str = "") -> Result:
    """Return the outcome of a run that an error ended before it owned the job dir: nothing was reached."""
    return with_error(Result(FAILED, run_id, error.message), error)


def with_error(result: Result, error: MXSparkError) -> Result:
    """Return an outcome with the cause of an error and what to do about it."""
    return with_cause(result, cause_of(error), error.remedy)


def with_cause(result: Result, cause: Cause, exact: str = "") -> Result:
    """Return an outcome with what failed first and what to do about it; `exact` is better than what is usual."""
    return replace(result, cause=cause, remedy=exact or cause.traits.remedy)


def history_of(plain: Mapping[str, Any]) -> tuple[EpochEnd, ...]:
    """Return the epochs of a result that :meth:`Result.to_dict` has given; what was NaN is NaN again."""
    return tuple(codec.decode(EpochEnd, _with_nan(epoch)) for epoch in plain["history"])


def _with_nan(epoch: dict[str, Any]) -> dict[str, Any]:
    sides = {
        side: {name: math.nan if value is None else value for name, value in epoch[side].items()}
        for side in ("training", "validation")
    }
    return {**epoch, **sides}


def cause_of(error: MXSparkError) -> Cause:
    """Return the cause of an error; of one that no role process is behind it is this process that says it."""
    return error.cause or Cause.here(error.kind, "driver", error.message.splitlines()[0])


def _finite(value: Any) -> Any:
    """Return plain values with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summarise(
    history: tuple[EpochEnd, ...],
    better: dict[str, str],
    bests: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return last and best value of every metric; one that `better` has no direction of (min or max) has no best.

    An epoch in which it counted no row, and is nan, or is infinite, is never the best. Where `bests` has one, by side
    and name, that is it: of more epochs than these.
    """
    summary: dict[str, Any] = {}
    for side in ("training", "validation"):
        epochs = [getattr(epoch, side) for epoch in history if getattr(epoch, side)]
        if epochs:
            best = {
                name: _best([epoch[name] for epoch in epochs], better[name]) for name in epochs[-1] if name in better
            }
            best.update((name, value) for name, value in bests.get(side, {}).items() if name in best)
            summary[side] = {"last": dict(epochs[-1]), "best": best}
    return summary


def _best(values: Sequence[float], better: str) -> float:
    numbers = [value for value in values if math.isfinite(value)]
    return (max if better == "max" else min)(numbers, default=math.nan)


def rows(result: Result) -> list[tuple[str, str]]:
    """Return what is to be told of a run by name, in order; facts that do not exist are left out."""
    # a run that ended before it owned the job dir has left nothing that could be found by its id, and has no seconds
    lines = [("run", result.run_id)] if result.seconds else []
    if result.epochs or result.steps:
        lines.append(("epochs", f"{result.epochs}  ({result.steps} steps{_behind(result)})"))
    for side in ("training", "validation"):
        last = result.metrics.get(side, {}).get("last", {})
        short = short_names(last)
        for name, value in last.items():
            best = result.metrics[side]["best"].get(name)  # nobody knows which value of a function is better
            lines.append((f"{side} {short[name]}", f"{value:.4f}{_beside(best, result.epochs)}"))
    if result.rows_per_s:
        lines.append(("rows/s", f"{result.rows_per_s:,.0f}"))
    if result.seconds:
        lines.append(("seconds", "  ".join(f"{phase} {taken:.1f}" for phase, taken in result.seconds.items())))
    for attempt in result.attempts:
        after = "" if attempt.lost_s is None else f"; {attempt.lost_s:.1f} s lost"
        what = attempt.cause.describe().splitlines()[0]
        how = ", as is said above" if what in result.message else f": {what}"  # the last one's is the message
        name = f"attempt {attempt.number}" if attempt.number else "driver before"
        lines.append((name, f"failed at step {attempt.reached}{how}{after}"))
    lines.extend(("warning", text) for text in result.warnings)
    if result.remedy:
        lines.append(("next", result.remedy))
    places = {
        "model": result.model.path if result.model else None,
        "best model": result.best_model.path if result.best_model else None,
        "checkpoint": result.checkpoint,
        "events": result.events,
    }
    lines.extend((name, place) for name, place in places.items() if place)
    return lines


def _behind(result: Result) -> str:
    """Say which step the same command goes on from, where that is not the last one that was done."""
    kept = result.checkpoint_step
    if result.status == SUCCEEDED or kept == result.steps:
        return ""
    return "; no checkpoint has them" if kept is None else f"; the newest checkpoint is of step {kept}"


def _beside(best: Optional[float], epochs: int) -> str:
    """Say the best value of all epochs of the job; of one it is the last."""
    return "" if best is None or epochs < 2 else f"  (best {best:.4f})"
