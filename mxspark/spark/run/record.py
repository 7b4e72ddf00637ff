"""What the driver keeps of a run: its journal, how far it has come, what is published, and in the end the result."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

from mxspark.data.plan import Plan
from mxspark.errors import JobDirError, MXSparkError
from mxspark.job import fixed
from mxspark.job.fixed import Fixed
from mxspark.job.spec import BestBy, Restore
from mxspark.jobdir import run_folder
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publisher import Delayed
from mxspark.protocol import launcher
from mxspark.protocol.events import Ended, EpochEnd, Reported, Staged, Started
from mxspark.result import FAILED, INTERRUPTED, SUCCEEDED, TERMINATED, Result, with_error
from mxspark.spark.run import bests, earlier, options, outcome
from mxspark.spark.run.bests import Bests
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.journal import Journal
from mxspark.spark.run.publishing import Publishing
from mxspark.spark.run.shutdown import Terminated
from mxspark.spark.run.since import Since
from mxspark.spark.run.standing import Standing
from mxspark.spark.run.timing import Phases
from mxspark.storage.base import join

Hook = Callable[[Reported], None]


class Recorder:
    """Hands every event of a run to those who keep something of it, and leaves the run's folder when it ends.

    Parameters
    ----------
    owned : JobDir
        Owned by this run.
    plan : Plan
        Of the training rows.
    phases : Phases
        Of the run so far; the start of the workers and the training are added.
    on_event : callable, optional
        The user's own.

    Attributes
    ----------
    standing : Standing
        How far the run has come.
    """

    def __init__(
        self, context: RunContext, owned: JobDir, plan: Plan, phases: Phases, on_event: Optional[Hook] = None
    ) -> None:
        self._context = context
        self._owned = owned
        self._plan = plan
        self._phases = phases
        self._on_event = on_event
        self._journal = Journal(context.scratch / "events.jsonl", context.display.phase)
        self._publishing = Publishing(owned, context.job.checkpoint)
        self._warnings: dict[str, str] = {}
        self._since = Since(context.options)
        self.standing = Standing()
        self._tell_launcher()

    def resume(self, into: Path) -> Optional[Restore]:
        """Copy the checkpoint that this run goes on from below `into`, and return it; None for a fresh start."""
        restore = self.newest(into)
        self.standing.begin_at(restore)
        workers = self._context.job.cluster.num_workers
        self.standing.note_earlier(earlier.attempts(self._owned, workers, self.standing.step))
        if restore is None:
            self.warn_of(self._publishing.to_be_replaced())
        self._warn_of_changes(self._since.changes())
        self._tell_launcher()
        return restore

    def newest(self, into: Path) -> Optional[Restore]:
        """Copy the newest good checkpoint below a new local folder."""
        try:
            found = self._publishing.newest(into)
        except JobDirError:  # there is none to go on from, so none to show
            self.standing.checkpoint = None
            raise
        if found is None:
            self.standing.checkpoint = None
            return None
        for warning in found.warnings:
            self.warn(warning)
        self._since.resume(found.manifest.meta)
        self.standing.checkpoint = join(self._owned.checkpoints, found.name)
        keeps_best = bests.is_same(self._since.before, *self._best_by)
        return dataclasses.replace(found.restore, keeps_best=keeps_best)

    def is_done(self) -> bool:
        """Whether every step of every epoch is done."""
        return self.standing.step >= self._plan.steps * self._context.job.training.epochs

    def is_complete(self) -> bool:
        """Whether a run that has just resumed finds all epochs done, and the model of the last one published.

        The model is published after the last checkpoint. A kill may fall between the two, and then the workers have to
        start once more for the model alone.
        """
        if self.standing.epochs < self._context.job.training.epochs:
            return False
        return self._publishing.has_model_of(self.standing.step)

    def begin(self) -> None:
        """Count the time from here as that of the start; what is only true where something is trained is said."""
        self.warn_of(bests.sought_anew(self._since.before, *self._best_by))
        self.warn_of(outcome.more_than_asked(self._context.job, self.standing, self._plan.steps))
        self._phases.begin_lap()

    def record(self, reported: Reported) -> None:
        """Take one event; what it stages is published beside."""
        event = reported.event
        if not isinstance(event, Ended):  # it holds whole logs, which become files of their own
            self._journal.write(reported)
        self._context.display.show(reported)
        if isinstance(event, Started) and self.standing.parameters is None:  # those of later attempts are no start
            self._phases.end_lap("start")
            self._context.display.phase("training")
        # before it is handed to the publisher: a step that is staged is done, whenever it is published
        self.standing.note(reported)
        if isinstance(event, Staged):
            self._publishing.put(dataclasses.replace(event, meta={**event.meta, **self._meta()}))
        elif isinstance(event, Started) and event.graph:
            self.learn(event.factors)
            loss = fixed.options_of_loss(self._context.job.training)
            self._publishing.fix(Fixed(event.graph, loss))
        elif isinstance(event, Ended):
            run_folder.write_logs(self._owned, event.logs, event.attempt, self._context.display.phase)
        # last: what it raises ends the run, and the event is kept then
        if self._on_event is not None:
            self._on_event(reported)

    def keep(self, warnings: Sequence[str]) -> None:
        """Keep for the result what was shown before there was a run."""
        self._warnings.update({text: text for text in warnings})

    def warn(self, text: str, about: str = "") -> None:
        """Show a warning, and keep it for the result; of those that are `about` the same, the last."""
        self._warnings[about or text] = text
        self._context.display.phase(f"warning: {text}")

    def learn(self, factors: Mapping[str, str]) -> None:
        """Take the factors of the network's parameters, and warn of those that are others than before."""
        self._warn_of_changes(self._since.learn(factors))

    def _warn_of_changes(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.warn(f"{line}, since the checkpoint of step {self.standing.step} was made")

    def warn_of(self, text: str) -> None:
        """Show and keep a warning, if there is one."""
        if text:
            self.warn(text)

    def poll(self, on_commit: Callable[[int], None] = lambda _step: None) -> None:
        """Take note of what was published meanwhile; `on_commit` lets rank 0 stage its next checkpoint."""
        for published in self._publishing.poll():
            staged = published.staged
            if isinstance(published, Delayed):
                limit = f"checkpoint.retry_s = {self._context.job.checkpoint.retry_s:g} s"
                first = published.error.message.splitlines()[0]
                words = f"warning: {first}; training goes on, and it is tried again for {limit}"
                self._context.display.phase(words)
            elif staged.kind == "checkpoint":
                self.standing.note_checkpoint(published.path, published.at)
                self._tell_launcher()
            # of a delayed one too: rank 0 waits for it before it stages the next, and not for a storage that is ill
            if staged.kind == "checkpoint":
                on_commit(staged.step)

    def flush(self, wait: Callable[[float], None]) -> None:
        """Return once all that was staged is published; raises if it cannot be."""
        self._publishing.flush(self.poll, wait)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Whatever ends the ``with``, leave events, logs and outcome in the run's folder."""
        self._phases.begin_lap()
        try:
            yield
        except KeyboardInterrupt as stop:
            status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            how = str(stop) or "Ctrl-C"
            # at once: a second interrupt may come while storages are asked for what follows
            stop.__dict__["result"] = self._reached(status, how)
            reached = self._last_result(status, "")
            message = outcome.interrupted_message(how, reached, self._owned.fresh)
            # an exception of Python's own, which has no field for it; the command line looks for this one
            stop.__dict__["result"] = self._leave(dataclasses.replace(reached, message=message))
            stop.args = (message,)  # what a shell or a notebook shows of it
            raise
        except MXSparkError as error:
            reached = with_error(self._last_result(FAILED, error.message), error)
            error.result = self._leave(outcome.advised(reached, self._owned.fresh))
            raise
        except BaseException as error:
            self._leave(self._last_result(FAILED, f"{type(error).__name__}: {error}"))
            raise

    def succeeded(self) -> Result:
        """Return the result of a run that did all its epochs."""
        self._publishing.close()
        self._phases.end_lap("train")
        return self._leave(self._result(SUCCEEDED, outcome.success_message(self.standing)))

    def nothing_left(self) -> Result:
        """Return the result of a run that found all epochs done: the numbers are those of the run that did them."""
        job = self._context.job
        message = outcome.nothing_left_message(job, self.standing, self._owned.path, self._since.changes())
        self._context.display.phase(message)
        return self._leave(self._result(SUCCEEDED, message))

    def _meta(self) -> dict[str, Any]:
        """Return what is kept with a checkpoint for later runs."""
        history, (_, measured) = self.standing.history, self._best_by
        of_epochs = self._since.meta(history[-1] if history else None)
        return {**of_epochs, **bests.to_meta(self._bests(measured), measured)}

    @property
    def _best_by(self) -> tuple[BestBy, dict[str, str]]:
        """What names the best epoch, and by what each value is told from another of its name."""
        context = self._context
        return context.job.training.spec().best_by, options.measured(context.job, context.options)

    def _bests(self, measured: Optional[Mapping[str, str]]) -> Bests:
        """Return the best values of all epochs of the job, of earlier ones those that are `measured` so; None: all."""
        known = bests.of_checkpoint(self._since.before, measured)
        return bests.with_epochs(known, self.standing.history, self._context.job.training.better())

    def _history(self) -> Sequence[EpochEnd]:
        """Return the epochs of this run; of one that found nothing left to train those of the run that did the last."""
        if self.standing.history:
            return self.standing.history
        finished_by = self._publishing.finished_by()
        earlier = run_folder.read_history(self._owned, finished_by) if finished_by is not None else ()
        last = self._since.last()
        # a run that was killed has left no result, but the last epoch is told with each checkpoint
        return earlier or ((last,) if last is not None else ())

    def _tell_launcher(self) -> None:
        """Say how far the run has come, for the case that this process cannot any more: it may be killed."""
        launcher.write(
            launcher.PROGRESS,
            {
                "run_id": self._owned.run.run_id,
                "folder": self._owned.run_folder,
                "checkpoint": self.standing.checkpoint,
                "epochs": self.standing.epochs,
                "steps": self.standing.step,
            },
        )

    def _reached(self, status: str, how: str) -> Result:
        """Return what an interrupted run is known to have reached without asking anybody."""
        at, run_id = self.standing, self._context.run_id
        reached = Result(status, run_id, "", at.epochs, at.step, checkpoint=at.checkpoint)
        return dataclasses.replace(reached, message=outcome.interrupted_message(how, reached, self._owned.fresh))

    def _last_result(self, status: str, message: str) -> Result:
        """Return what was reached by a run that ends now; what is just being published may still count."""
        self._publishing.close()
        with contextlib.suppress(MXSparkError):  # the run ends for another reason
            self.poll()
        return self._result(status, message)

    def _result(self, status: str, message: str) -> Result:
        models = run_folder.published_models(self._owned)
        result = outcome.result_of(
            self.standing,
            self._context.job,
            self._history() if status == SUCCEEDED else self.standing.history,
            self._bests(self._best_by[1] if self.standing.history else None),  # where none was trained, as they were
            status=status,
            message=message,
            run_id=self._context.run_id,
            rows_per_epoch=self._plan.rows,
            seconds=self._phases.seconds,
            checkpoint=run_folder.path_if_there(self._owned.storage, self.standing.checkpoint),
            warnings=tuple(self._warnings.values()),
        )
        return dataclasses.replace(result, model=models.get("model"), best_model=models.get("model-best"))

    def _leave(self, result: Result) -> Result:
        """Write the run's folder, and return the result with what is in it."""
        self._journal.close()
        return run_folder.write_outcome(self._owned, self._journal.path, result, self._context.display.phase)
