"""What the driver keeps of a run: events, published folders, history, the result."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data.plan import Plan
from mxspark.errors import JobDirError, MXSparkError
from mxspark.errors.cause import Cause
from mxspark.errors.restart import STOP, Failed, Next
from mxspark.job.record import RunInfo, job_id
from mxspark.job.spec import Restore
from mxspark.jobdir import run_folder
from mxspark.jobdir.checkpoints import CheckpointStore, Found
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publish import publish_model, read_model
from mxspark.jobdir.publisher import Delayed, Publisher, settle
from mxspark.protocol import events, launcher
from mxspark.protocol.events import Beat, Done, Ended, EpochEnd, Raised, Reported, RoleEnded, Staged, Started
from mxspark.report.progress import Progress
from mxspark.result import FAILED, INTERRUPTED, SUCCEEDED, TERMINATED, Attempt, Result, summarise
from mxspark.spark.run.downtime import Losses
from mxspark.spark.run.shutdown import Terminated
from mxspark.spark.run.timing import Phases
from mxspark.spark.session import session
from mxspark.storage.base import join


def run_info(run: str, path: str, job: JobConfig) -> RunInfo:
    """Say who this run is; its job is named by ``job.id``, by what schedules it, or by its folder and user."""
    user = getpass.getuser()
    identity = job.job.id or session.scheduled_id() or job_id(path, user)
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return RunInfo(run, identity, user, os.uname().nodename, os.getpid(), started, job.failure.lease_s)


_CLOSE_S = 2.0


class Recorder:
    """Takes every event of a run, publishes what rank 0 staged, and makes the result.

    Attributes
    ----------
    parameters : int or None
        How many values are trained, once that is known.
    """

    def __init__(
        self,
        job: JobConfig,
        owned: JobDir,
        store: CheckpointStore,
        plan: Plan,
        scratch: Path,
        display: Progress,
        on_event: Optional[Callable[[Reported], None]],
    ) -> None:
        self._job, self._owned, self._store, self._plan = job, owned, store, plan
        self._display, self._on_event = display, on_event
        self._history: list[EpochEnd] = []
        self._found: Optional[Found] = None
        self._checkpoint: Optional[str] = None
        self._step = 0
        self._journal_path = scratch / "events.jsonl"
        self._journal = self._journal_path.open("a", encoding="utf-8")
        self._lost_events = 0
        self.parameters: Optional[int] = None
        self._warnings: dict[str, str] = {}
        self._phases = Phases()
        self._started_at: Optional[float] = None
        self._losses = Losses(time.monotonic)
        self._publisher = Publisher(self._publish, job.checkpoint.retry_s)
        self._first = self._step  # of this attempt
        self._progressed = False
        self._tell_launcher()

    def _tell_launcher(self) -> None:
        """Say how far the run has come, for the case that this process cannot any more."""
        said = {"run_id": self._owned.run.run_id, "folder": self._owned.run_folder, "checkpoint": self._checkpoint}
        launcher.tell(launcher.REACHED, {**said, "epochs": self._epochs(), "steps": self._step})

    def _epochs(self) -> int:
        """Return how many epochs are done."""
        return self._history[-1].epoch + 1 if self._history else (self._found.restore.epoch if self._found else 0)

    def resume(self, into: Path) -> Optional[Restore]:
        """Copy the checkpoint that this run goes on from below `into`, and return it; None for a fresh start."""
        restore = self.newest(into)
        if restore is not None:
            self._step = self._first = restore.step
        self._tell_launcher()
        return restore

    def begin(self) -> None:
        """Count the time from here as that of the start."""
        self._began = time.monotonic()

    def is_done(self) -> bool:
        """Whether every step of every epoch is done."""
        return self._step >= self._plan.steps * self._job.training.epochs

    def is_complete(self) -> bool:
        """Whether all epochs are done and the model of the last one is published; a kill may fall between the two."""
        if self._found is None or self._found.restore.epoch < self._job.training.epochs:
            return False
        published = read_model(self._owned)
        return published is not None and published.step >= self._found.restore.step

    def take(self, reported: Reported) -> None:
        """Take one event; what it stages is published beside."""
        event = reported.event
        if not isinstance(event, Ended):
            self._write(reported)
        self._display.show(reported)
        if isinstance(event, Started) and self._started_at is None:
            self._phase("start")
            self._started_at = time.monotonic()
            self.parameters = event.parameters
            self._display.phase("training")
        elif isinstance(event, EpochEnd) and reported.rank == 0:
            self._history.append(event)
            self._step = event.step
        elif isinstance(event, (Beat, Done)):
            self._step = max(self._step, event.step)
            self._losses.stepped()
        elif isinstance(event, Staged):
            self._step = max(self._step, event.step)
            self._publisher.put(event)
        elif isinstance(event, Ended):
            run_folder.logs(self._owned, event.logs, event.attempt, self._display.phase)
        elif isinstance(event, Raised) or (isinstance(event, RoleEnded) and not event.expected):
            self._losses.saw()
        if self._on_event is not None:
            self._on_event(reported)

    def warn(self, text: str, about: str = "") -> None:
        """Show a warning, and keep it for the result; of those that are `about` the same, the last."""
        self._warnings[about or text] = text
        self._display.phase(f"warning: {text}")

    def failed(self, cause: Cause, number: int, workers: int, whole: bool) -> Failed:
        """Note that an attempt failed, and return what counts for what comes next."""
        self._losses.failed(number, workers, cause, self._step)
        return Failed(cause, self._first, self._progressed, whole)

    def decided(self, step: Next, restore: Optional[Restore]) -> Attempt:
        """Note what follows the attempt that failed last, and return all about it."""
        resumed = restore.step if restore else 0
        attempt = self._losses.decided(step, resumed)
        if step.action != STOP:
            self._step = self._first = resumed
            self._progressed = False
            self._history = [epoch for epoch in self._history if restore is not None and epoch.epoch < restore.epoch]
        return attempt

    def newest(self, into: Path) -> Optional[Restore]:
        """Copy the newest good checkpoint below a new local folder; what is staged and not committed does not count."""
        shutil.rmtree(into, ignore_errors=True)
        try:
            found = self._store.newest(into)
        except JobDirError:  # there is none to go on from, so none to show
            self._checkpoint = None
            raise
        for warning in found.warnings if found else ():
            self.warn(warning)
        self._found = found
        self._checkpoint = join(self._owned.checkpoints, found.name) if found else None
        return found.restore if found else None

    @contextmanager
    def keeping(self, phases: Phases) -> Iterator[None]:
        """Whatever ends the ``with``, leave events, logs and outcome in the run's folder."""
        self._phases, self._began = phases, time.monotonic()
        try:
            yield
        except KeyboardInterrupt as stop:
            status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
            reached = self._last_result(status, f"{str(stop) or 'Ctrl-C'}; the same command resumes")
            stop.__dict__["result"] = self._leave(reached)
            raise
        except MXSparkError as error:
            reached = self._last_result(FAILED, error.message)
            error.result = self._leave(reached.failed_by(error))
            raise
        except BaseException as error:
            self._leave(self._last_result(FAILED, f"{type(error).__name__}: {error}"))
            raise

    def succeeded(self) -> Result:
        """Return the result of a run that did all its epochs."""
        self._publisher.close(_CLOSE_S)
        self._phase("train")
        done = self._job.training.epochs
        return self._leave(self._result(SUCCEEDED, f"{done} epoch{'s' if done > 1 else ''}, {self._step} steps"))

    def nothing_left(self) -> Result:
        """Return the result of a run that found all epochs done."""
        epochs = self._job.training.epochs
        done = self._found.restore.epoch if self._found else 0
        message = (
            f"nothing left to train: {self._owned.path} holds {done} epochs and training.epochs is {epochs}; raise it "
            "to train on"
        )
        return self._leave(self._result(SUCCEEDED, message))

    def turn(self, committed: Callable[[int], None]) -> None:
        """Take note of what was published meanwhile; `committed` lets rank 0 stage its next checkpoint."""
        for outcome in self._publisher.outcomes():
            staged = outcome.staged
            if isinstance(outcome, Delayed):
                limit = f"checkpoint.retry_s = {self._job.checkpoint.retry_s:g} s"
                first = outcome.error.message.splitlines()[0]
                self._display.phase(f"warning: {first}; training goes on, and it is tried again for {limit}")
            elif staged.kind == "checkpoint":
                self._checkpoint = outcome.path
                self._losses.kept(outcome.at)
                self._progressed = True
                self._tell_launcher()
            if staged.kind == "checkpoint":
                committed(staged.step)

    def settle(self, wait: Callable[[float], None]) -> None:
        """Return once all that was staged is published; raises if it cannot be."""
        settle(self._publisher, lambda: self.turn(lambda _step: None), wait)

    def _publish(self, staged: Staged) -> str:
        if staged.kind == "checkpoint":
            return self._store.commit(staged).path
        return publish_model(self._owned, staged, "model" if staged.kind == "model" else "model-best")

    def _last_result(self, status: str, message: str) -> Result:
        """Return what was reached by a run that ends now; what is just being published may still count."""
        self._publisher.close(_CLOSE_S)
        with contextlib.suppress(MXSparkError):  # the run ends for another reason
            self.turn(lambda _step: None)
        return self._result(status, message)

    def _result(self, status: str, message: str) -> Result:
        trained = sum(epoch.rows for epoch in self._history)
        seconds = sum(epoch.seconds for epoch in self._history)
        models = run_folder.models(self._owned)
        return Result(
            status=status,
            run_id=self._owned.run.run_id,
            message=message,
            epochs=self._epochs(),
            steps=self._step,
            rows_per_epoch=self._plan.rows,
            history=tuple(self._history),
            metrics=summarise(tuple(self._history), resolve.better(self._job)),
            seconds=dict(self._phases.seconds),
            rows_per_s=trained / seconds if seconds else 0.0,
            checkpoint=run_folder.unless_gone(self._owned.storage, self._checkpoint),
            model=models.get("model"),
            best_model=models.get("model-best"),
            attempts=tuple(self._losses.attempts),
            warnings=tuple(self._warnings.values()),
        )

    def _phase(self, name: str) -> None:
        now = time.monotonic()
        self._phases.seconds[name] = round(now - self._began, 3)
        self._began = now

    def _write(self, reported: Reported) -> None:
        line = {"time": time.time(), "role": reported.role, "rank": reported.rank, **events.to_wire(reported.event)}
        try:
            self._journal.write(json.dumps(line) + "\n")
        except OSError as error:  # a full disk; training can go on without
            if not self._lost_events:
                self._display.phase(f"warning: events are no longer written to {self._journal_path}: {error}")
            self._lost_events += 1

    def _leave(self, result: Result) -> Result:
        """Write the run's folder, and return the result with what is in it."""
        try:
            self._journal.close()
        except OSError as error:  # a full disk; what was written before is kept
            self._display.phase(f"warning: the last events are lost: {error}")
        return run_folder.outcome(self._owned, self._journal_path, result, self._display.phase)
