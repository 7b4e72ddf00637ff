"""What a training run hands back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.model import Model
from mxspark.protocol import codec
from mxspark.protocol.events import EpochEnd

SUCCEEDED = "succeeded"
FAILED = "failed"
INTERRUPTED = "interrupted"
TERMINATED = "terminated"


@dataclass(frozen=True)
class FailedAttempt:
    """One attempt of a run that failed.

    Attributes
    ----------
    number : int
        Counts from 1.
    workers : int
        How many it had.
    cause : Cause
        What failed first.
    reached, resumed : int
        Step it had come to, and the step at which the next attempt went on.
    how : str
        What came of it: restarted ``in place``, as a new ``stage``, or ``stop``; `reason` says why.
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
        Metrics of each epoch of this run.
    metrics : dict
        ``{"training": {"last": {…}, "best": {…}}, "validation": {…}}``; a best value only where its direction is known.
    seconds : dict
        Wall time by phase.
    rows_per_s : float
        Training rows of all workers a second, validation and checkpoints left out.
    checkpoint : str or None
        Newest committed checkpoint.
    model, best_model : Model or None
        The network after the last epoch, and after the best one where there is validation data.
    events : str or None
        The run's events as JSON lines.
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

    @classmethod
    def of_error(cls, error: MXSparkError, run_id: str = "") -> Result:
        """Return the outcome of a run that an error ended before it owned the job dir: nothing was reached."""
        return cls(FAILED, run_id, error.message).failed_by(error)

    def failed_by(self, error: MXSparkError) -> Result:
        """Return this outcome with the cause of an error and what to do about it."""
        return self.failed(cause_of(error), error.remedy)

    def failed(self, cause: Cause, exact: str = "") -> Result:
        """Return this outcome with what failed first and what to do about it; `exact` is better than what is usual."""
        return replace(self, cause=cause, remedy=exact or cause.traits.remedy)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as one JSON object, as ``--result`` writes it."""
        plain = codec.encode(replace(self, model=None, best_model=None))
        plain["model"] = self.model.path if self.model else None
        plain["best_model"] = self.best_model.path if self.best_model else None
        return dict(_finite(plain))


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


def summarise(history: tuple[EpochEnd, ...], better: dict[str, str]) -> dict[str, Any]:
    """Return last and best value of every metric; one that `better` has no direction of (min or max) has no best.

    An epoch in which it counted no row, and is nan, is never the best.
    """
    summary: dict[str, Any] = {}
    for side in ("training", "validation"):
        epochs = [getattr(epoch, side) for epoch in history if getattr(epoch, side)]
        if epochs:
            best = {
                name: _best([epoch[name] for epoch in epochs], better[name]) for name in epochs[-1] if name in better
            }
            summary[side] = {"last": dict(epochs[-1]), "best": best}
    return summary


def _best(values: Sequence[float], better: str) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return (max if better == "max" else min)(numbers, default=math.nan)
