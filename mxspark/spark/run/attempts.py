"""The loop of a run: attempt after attempt, until one succeeds or the policy says stop."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.data.dataset import DataSet
from mxspark.errors import ClusterError, JobDirRemoved, MXSparkError, TakenOver, cause, restart
from mxspark.errors.restart import IN_PLACE, STAGE, STOP, Failed, Next, Policy
from mxspark.job.spec import WorkerBundle
from mxspark.protocol.events import Beat, Cleared, Joined, Reported, Restarting, Started, Stopped
from mxspark.report.progress import Progress
from mxspark.result import Attempt, Result
from mxspark.spark.run import memory, stragglers
from mxspark.spark.run.gang import Gang
from mxspark.spark.run.record import Recorder
from mxspark.spark.run.shutdown import Notice, Terminated
from mxspark.spark.run.stragglers import Watch
from mxspark.spark.session import session
from mxspark.spark.session.session import SessionFacts

log = logging.getLogger(__name__)

_POLL_S = 0.2
Data = tuple[DataSet, Optional[DataSet]]


class Attempts:
    """All attempts of one run.

    Parameters
    ----------
    gang : Gang
        Started, not begun.
    make_gang : callable
        ``make_gang(size, first)`` returns the gang of a new stage.
    bundle : WorkerBundle
        For the first attempt.
    spool_again : callable
        Returns the data, spooled anew where spools were lost with an executor.
    restores : Path
        Local folder for checkpoints that are gone back to.
    wait : callable
        Sleeps for so many seconds, and raises when the run has lost its job dir.
    notice : Notice
        Heeded: the workers then make a last checkpoint, and the run ends.
    """

    def __init__(
        self,
        job: JobConfig,
        facts: SessionFacts,
        gang: Gang,
        make_gang: Callable[[int, int], Gang],
        bundle: WorkerBundle,
        recorder: Recorder,
        display: Progress,
        spool_again: Callable[[], Data],
        restores: Path,
        wait: Callable[[float], None],
        notice: Notice,
    ) -> None:
        self._job, self._facts, self._make_gang = job, facts, make_gang
        self._bundle, self._recorder, self._display = bundle, recorder, display
        self._spool_again, self._restores, self._keep, self._notice = spool_again, restores, wait, notice
        self._told = self._weighed = False
        self._hosts: dict[int, str] = {}
        self._follow(gang)
        self._policy = Policy(job.failure.max_restarts, job.failure.backoff_s)
        self._failed: list[Failed] = []

    def run(self) -> Result:
        """Train to the end.

        Raises
        ------
        MXSparkError
            Of the kind the last attempt's cause says, when no further attempt is made.
        """
        with self._notice.heeded():
            self._gang.begin(self._bundle)
            while (error := self._attempt()) is not None:
                self._publish_rest(error)
                self._end_if_told(error)
                self._go_on(error)
            self._publish_rest()
            if not self._recorder.is_done():
                self._end_if_told()
        return self._recorder.succeeded()

    def _follow(self, gang: Gang) -> None:
        """Listen to this gang from now on."""
        self._gang = gang
        gang.on_turn = self._turn

    def _turn(self) -> None:
        """Do what is to be done beside listening."""
        self._wait(0.0)
        self._recorder.turn(self._gang.committed)
        if self._notice.why is not None and not self._told:
            self._told = True
            self._display.phase(f"{self._notice.why}: making a last checkpoint")
            self._gang.end_early(self._notice.why)

    def _wait(self, seconds: float) -> None:
        """Sleep, but not past a time by which the run has to end."""
        self._notice.expect_within(self._job.failure.grace_s)
        self._keep(seconds)

    def _end_if_told(self, error: Optional[MXSparkError] = None) -> None:
        """Raise if a notice was given; a next attempt is not begun then."""
        if self._notice.why is not None:
            asked = error is not None and error.cause is not None and error.cause.traits.is_asked_for
            lost = f"; before a last checkpoint: {error.message.splitlines()[0]}" if error and not asked else ""
            raise Terminated(self._notice.why + lost) from error

    def _publish_rest(self, error: Optional[MXSparkError] = None) -> None:
        """Publish what was staged before the attempt ended with `error`; it counts."""
        try:
            self._recorder.settle(self._wait)
        except (TakenOver, JobDirRemoved):
            raise
        except MXSparkError as lack:
            if error is None:
                raise
            raise type(error)(f"{error.message}\n{lack.message}", error.cause) from lack

    def _attempt(self) -> Optional[MXSparkError]:
        """Follow an attempt to its end and return why it failed, None after success."""
        watch = Watch(self._gang.size)
        try:
            for reported in self._gang.talk():
                self._recorder.take(reported)
                self._look(reported, watch)
        except ClusterError as error:
            if error.cause is None or self._gang.ended is not None:
                raise
            return error
        ended = self._gang.ended
        if ended is None or ended.cause is None:
            return None
        failed = ended.cause.as_error()
        return type(failed)("\n".join([failed.message, *cause.company(ended.cause, ended.others)]), ended.cause)

    def _look(self, reported: Reported, watch: Watch) -> None:
        """Warn of what does not stop the run: containers that are too small, a slow worker."""
        event = reported.event
        if isinstance(event, Started):
            self._weigh()
        elif isinstance(event, Joined):
            self._hosts[event.rank] = event.host
        elif isinstance(event, (Cleared, Stopped)) and event.ended:
            self._recorder.warn(cause.left_behind(event.rank, event.ended))
        elif isinstance(event, Beat):
            found = watch.hear(reported.rank, event)
            if found is not None:
                self._recorder.take(Reported("driver", 0, found))
                words = stragglers.words(found, self._hosts.get(found.rank, ""))
                self._recorder.warn(words, about=f"the pace of worker {found.rank}")

    def _weigh(self) -> None:
        """Warn once, now that the size of the network is known, of containers that it does not fit in."""
        if not self._weighed:
            self._weighed = True
            for line in memory.warnings(self._facts, self._job, self._recorder.parameters):
                self._recorder.warn(line)

    def _go_on(self, error: MXSparkError) -> None:
        """Begin the next attempt, or raise."""
        gang = self._gang
        whole = gang.whole()
        if not whole:
            error = self._after_the_stage(error)
        assert error.cause is not None
        self._failed.append(self._recorder.failed(error.cause, gang.attempt, gang.size, whole))
        step = restart.decide(self._failed, self._policy)
        cancelled = gang.cancelled() if step.action == STAGE else None
        if cancelled:
            step = Next(STOP, 0.0, f"the stage was cancelled in Spark: {cancelled}")
        if step.action == STOP:
            self._recorder.decided(step, None)
            raise self._last_word(error, step)
        shutil.rmtree(self._restores, ignore_errors=True)  # that of an attempt before; nobody reads it any more
        restore = self._recorder.newest(self._restores / f"attempt-{gang.attempt + 1}")
        self._bundle = dataclasses.replace(self._bundle, restore=restore)
        attempt = self._recorder.decided(step, restore)
        self._announce(attempt, step.wait_s)
        if step.action == IN_PLACE:
            gang.pause(step.wait_s)
            self._end_if_told()
            gang.again(self._bundle)
        else:
            self._pause(step.wait_s)
            self._new_stage(error)

    def _after_the_stage(self, error: MXSparkError) -> MXSparkError:
        """End what is left of the gang, and return the error with what Spark says of why slots were lost."""
        self._gang.close("slots are lost")
        return memory.explained(error, self._gang.said(), self._facts, self._job, self._recorder.parameters)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._end_if_told()
            self._wait(min(_POLL_S, seconds))

    def _new_stage(self, error: MXSparkError) -> None:
        cluster, limit_s = self._job.cluster, self._job.failure.start_s
        try:
            size = session.slots_for(self._facts, cluster.num_workers, cluster.fewest_workers, limit_s)
        except ClusterError as lack:
            raise ClusterError(f"{error.message}\nno new stage can be started: {lack.message}", error.cause) from lack
        training, validation = self._spool_again()
        self._bundle = dataclasses.replace(
            self._bundle, size=size, training_data=training, validation_data=validation
        )  # fmt: skip
        self._follow(self._make_gang(size, self._gang.attempt + 1))
        self._gang.begin(self._bundle)

    def _announce(self, attempt: Attempt, wait_s: float) -> None:
        workers = attempt.workers
        event = Restarting(
            attempt.number + 1, attempt.how, workers, attempt.resumed, attempt.reached, wait_s, attempt.cause
        )  # fmt: skip
        self._recorder.take(Reported("driver", 0, event))
        first = attempt.cause.describe().splitlines()[0]
        where = "with the same agents" if attempt.how == IN_PLACE else "as a new stage"
        self._display.phase(
            f"attempt {attempt.number} failed at step {attempt.reached}: {first}; attempt {attempt.number + 1} goes on "
            f"{where} from step {attempt.resumed} ({attempt.reason})"
        )

    def _last_word(self, error: MXSparkError, step: Next) -> MXSparkError:
        """Return what is raised: the last cause, why there is no further attempt, and the causes before it."""
        if not self._policy.max_restarts or error.cause is None or error.cause.traits.is_asked_for:
            return error
        lines = [error.message, f"no further attempt is made: {step.reason}"]
        lines += [
            f"attempt {number} failed: {attempt.cause.describe().splitlines()[0]}"
            for number, attempt in enumerate(self._failed[:-1], 1)
        ]
        return type(error)("\n".join(lines), error.cause)
