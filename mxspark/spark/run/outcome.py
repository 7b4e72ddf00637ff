"""From the standing of a run that ends to its result. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.errors.spelling import counted
from mxspark.job.record import Fresh
from mxspark.protocol.events import EpochEnd
from mxspark.result import Result, summarise
from mxspark.spark.run.bests import Bests
from mxspark.spark.run.standing import Standing


def result_of(
    standing: Standing,
    job: JobConfig,
    history: Sequence[EpochEnd],
    bests: Bests,
    *,
    status: str,
    message: str,
    run_id: str,
    rows_per_epoch: int,
    seconds: Mapping[str, float],
    checkpoint: Optional[str],
    warnings: tuple[str, ...],
) -> Result:
    """Return the result of a run, but for its models.

    Parameters
    ----------
    history : sequence of EpochEnd
        The epochs of the run, or where it found nothing left to train those of the run that did the last.
    bests : dict
        The best values of all epochs of the job.
    status, message : str
        How it ended, and that in one sentence.
    seconds : mapping
        Wall time by phase.
    checkpoint : str or None
        The newest one that is still there.
    """
    trained = sum(epoch.rows for epoch in history)
    training_s = sum(epoch.seconds for epoch in history)
    return Result(
        status=status,
        run_id=run_id,
        message=message,
        epochs=standing.epochs,
        steps=standing.step,
        rows_per_epoch=rows_per_epoch,
        history=tuple(history),
        metrics=summarise(tuple(history), job.training.better(), bests),
        seconds=dict(seconds),
        rows_per_s=trained / training_s if training_s else 0.0,
        checkpoint=checkpoint,
        attempts=standing.failed_attempts,
        warnings=warnings,
    )


def interrupted_message(how: str, reached: Result, fresh: Optional[Fresh]) -> str:
    """Say where the command that was interrupted goes on when it is given again."""
    step = reached.checkpoint_step
    where = "from the start: no checkpoint was made yet" if step is None else f"at step {step}"
    return f"{how}; the same command {'without --fresh ' if _starts_over_again(fresh) else ''}resumes {where}"


def advised(reached: Result, fresh: Optional[Fresh]) -> Result:
    """Return the result of a run that failed, with advice that is true where the same command starts over again."""
    if reached.checkpoint is None or not _starts_over_again(fresh):
        return reached
    return replace(reached, remedy=f"{reached.remedy}. Give it without --fresh (job.fresh) then, which starts over")


def _starts_over_again(fresh: Optional[Fresh]) -> bool:
    """Tell whether the command starts over each time it is given: nothing names it in all of its tries."""
    return fresh is not None and fresh.command is None


def success_message(standing: Standing) -> str:
    """Say what the model of a run that did all its epochs is of: more than it was asked for, where that was done."""
    return f"{counted(standing.epochs, 'epoch')}, {standing.step} step{'s' * (standing.step != 1)}"


def more_than_asked(job: JobConfig, standing: Standing, steps_per_epoch: int) -> str:
    """Return that more was done before than a run shall do, whose model cannot be of less; "" where it was not."""
    epochs = job.training.epochs
    if standing.step <= epochs * steps_per_epoch:
        return ""
    return (
        f"training.epochs is {epochs}, and this job has done more: its checkpoint is of "
        f"{counted(standing.epochs, 'epoch')} ({counted(standing.step, 'step')}), and so is the model; for one of less "
        "start over with --fresh (job.fresh: true)"
    )


def nothing_left_message(job: JobConfig, standing: Standing, path: str, changes: Sequence[str]) -> str:
    """Say that a run found all epochs done in the job dir `path`, and which changes of options come too late."""
    late = f" (what was changed since has no effect: {'; '.join(changes)})" if changes else ""
    return (
        f"nothing left to train: {path} holds {counted(standing.epochs, 'epoch')} and "
        f"training.epochs is {job.training.epochs}{late}; raise it to train on, or start over with "
        '--fresh (in Python job={"fresh": True})'
    )
