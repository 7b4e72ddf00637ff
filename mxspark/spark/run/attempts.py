"""The loop of a run: attempt after attempt, until one succeeds or the policy says stop."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Sequence
from typing import Optional

from mxspark.errors import ClusterError, JobDirRemoved, MXSparkError, TakenOver, cause, restart
from mxspark.errors.restart import IN_PLACE, STAGE, STOP, Failed, Next, Policy
from mxspark.job.spec import Restore, WorkerSpec
from mxspark.jobdir.lease import Lease
from mxspark.protocol.events import Ended, Formed, Reported, Restarting
from mxspark.result import FailedAttempt, Result
from mxspark.spark.run import lost, memory
from mxspark.spark.run.advisor import Advisor
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.gang import Gang
from mxspark.spark.run.record import Recorder
from mxspark.spark.run.shutdown import Terminated
from mxspark.spark.run.spooled import Spooled
from mxspark.spark.run.turn import Turn
from mxspark.spark.session import slots

_POLL_S = 0.2


class Attempts:
    """All attempts of one run.

    Everything happens in the caller's thread, in one loop: with every turn of listening to the gang, publishing is
    polled, the lease is looked at, and a request to end is passed on.

    Parameters
    ----------
    recorder : Recorder
        Told of everything.
    spooled : Spooled
        The rows, which a new stage may have to read again.
    lease : Lease
        On the job dir; a run that has lost it ends.
    gang : Gang
        Started, not begun.
    worker_spec : WorkerSpec
        For the first attempt.
    gangs : ExitStack
        Ends the gangs of new stages. It is the caller's, because what a run has reached is written before that: ending
        a gang may take as long as Spark takes to give up a lost host.
    """

    def __init__(
        self,
        context: RunContext,
        recorder: Recorder,
        spooled: Spooled,
        lease: Lease,
        gang: Gang,
        worker_spec: WorkerSpec,
        *,
        gangs: contextlib.ExitStack,
    ) -> None:
        self._context = context
        self._recorder = recorder
        self._spooled = spooled
        self._lease = lease
        self._worker_spec = worker_spec
        self._gangs = gangs
        self._advisor = Advisor(context, recorder)
        self._listen_to(gang)

    def run(self) -> Result:
        """Train to the end.

        Raises
        ------
        MXSparkError
            Of the kind the last attempt's cause says, when no further attempt is made.
        """
        with self._context.shutdown.heeded():
            self._begin_stage()
            while (error := self._attempt()) is not None:
                self._publish_rest(error)
                self._end_if_told(error)
                self._go_on(error)
            self._publish_rest()
            if not self._recorder.is_done():
                self._end_if_told()
        return self._recorder.succeeded()

    def _listen_to(self, gang: Gang) -> None:
        self._gang = gang
        gang.on_turn = self._turn

    def _turn(self) -> None:
        """Do what is to be done beside listening."""
        # the lease before all else: what was published since is not ours to count, or to go on from
        self._wait(0.0)
        self._recorder.poll(self._gang.confirm_commit)
        why = self._context.shutdown.take_request()
        if why is not None:
            self._context.display.phase(f"{why}: making a last checkpoint")
            self._gang.end_early(why)

    def _wait(self, seconds: float) -> None:
        """Sleep; raise when the lease is lost, and at the time by which the run has to end."""
        self._context.shutdown.expect_within(self._context.job.failure.grace_s)
        self._lease.sleep(seconds)

    def _end_if_told(self, error: Optional[MXSparkError] = None) -> None:
        """Raise if the end was asked for; a next attempt is not begun then.

        An attempt that ends early as it was told is "interrupted". One that fails for another reason while it makes its
        last checkpoint must not be taken for that: what it lost is said.
        """
        why = self._context.shutdown.why
        if why is not None:
            asked = error is not None and error.cause is not None and error.cause.traits.is_asked_for
            lost = f"; before a last checkpoint: {error.message.splitlines()[0]}" if error and not asked else ""
            raise Terminated(why + lost) from error

    def _publish_rest(self, error: Optional[MXSparkError] = None) -> None:
        """Publish what was staged before the attempt ended with `error`; it counts.

        Done before anything is decided: whether the attempt made progress, and where the next one begins, hang on the
        checkpoint that may just be on its way.
        """
        try:
            self._recorder.flush(self._wait)
        except (TakenOver, JobDirRemoved):
            raise  # whatever the attempt failed of: there is no job dir to go on in
        except MXSparkError as lack:
            if error is None:
                raise
            # the attempt's failure came first, and is the cause
            raise type(error)(f"{error.message}\n{lack.message}", error.cause) from lack

    def _attempt(self) -> Optional[MXSparkError]:
        """Follow an attempt to its end and return why it failed, None after success."""
        self._advisor.begin_attempt(self._gang.size)
        try:
            for reported in self._gang.events():
                if isinstance(reported.event, (Formed, Ended)):
                    self._taking.leave()  # its slots are held, or given back
                self._recorder.record(reported)
                self._advisor.look(reported)
        except ClusterError as error:
            # the gang itself is gone, which a new stage may mend; what has no cause, or comes after the end, is no
            # failure of this attempt (a storage that refuses, for one)
            if error.cause is None or self._gang.ended is not None:
                raise
            return error
        ended = self._gang.ended
        if ended is None or ended.cause is None:
            return None
        failed = ended.cause.as_error()
        return type(failed)("\n".join([failed.message, *cause.company(ended.cause, ended.others)]), ended.cause)

    def _go_on(self, error: MXSparkError) -> None:
        """Begin the next attempt, or raise."""
        gang = self._gang
        is_whole = gang.can_restart_in_place()
        if not is_whole:
            error = self._after_the_stage(error)
        assert error.cause is not None
        standing = self._recorder.standing
        failed = standing.fail(error.cause, gang.attempt, gang.size, is_whole)
        step = self._decide(failed)
        restore = self._newest() if step.action != STOP else None
        attempt = standing.follow(step, restore)
        if step.action == STOP:
            raise last_word(error, step, failed, self._policy.max_restarts)
        self._worker_spec = dataclasses.replace(self._worker_spec, restore=restore)
        self._announce(attempt, step.wait_s)
        if step.action == IN_PLACE:
            gang.drain(step.wait_s)
            self._end_if_told()
            gang.restart(self._worker_spec)
        else:
            self._pause(step.wait_s)
            self._new_stage(error)

    @property
    def _policy(self) -> Policy:
        failure = self._context.job.failure
        return Policy(failure.max_restarts, failure.backoff_s)

    def _decide(self, failed: Sequence[Failed]) -> Next:
        step = restart.decide(failed, self._policy)
        # only a gang that is closed can be asked; one that goes on in place has its stage
        cancelled = self._gang.cancellation() if step.action == STAGE else None
        return step if cancelled is None else Next(STOP, 0.0, f"the stage was cancelled in Spark: {cancelled}")

    def _newest(self) -> Optional[Restore]:
        """Return the newest checkpoint, for the next attempt to begin at."""
        restores = self._context.folder("restore")
        shutil.rmtree(restores, ignore_errors=True)  # that of an attempt before; nobody reads it any more
        return self._recorder.newest(restores / f"attempt-{self._gang.attempt + 1}")

    def _after_the_stage(self, error: MXSparkError) -> MXSparkError:
        """End what is left of the gang, and return the error with what Spark says of why slots were lost."""
        # first of all: as long as the stage is there its slots are taken, and Spark does not say how it ended
        self._gang.close("slots are lost")
        parameters = self._recorder.standing.parameters
        said = self._gang.spark_error()
        error = lost.explained(error, said)
        return memory.explained(error, said, self._context.facts, self._context.job, parameters)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._end_if_told()
            self._wait(min(_POLL_S, seconds))

    def _new_stage(self, error: MXSparkError) -> None:
        """Begin on the slots that there are; the gang before is closed, and has freed its own."""
        cluster, limit_s = self._context.job.cluster, self._context.job.failure.start_s
        try:
            size = slots.settle_for(self._context.facts, cluster.num_workers, cluster.fewest_workers, limit_s)
        except ClusterError as lack:
            raise ClusterError(f"{error.message}\nno new stage can be started: {lack.message}", error.cause) from lack
        # after the slots: rows are read again by the executors that have come, on disks that will be there
        training, validation = self._spooled.ensure_there()
        self._worker_spec = dataclasses.replace(
            self._worker_spec, size=size, training_data=training, validation_data=validation
        )  # fmt: skip
        self._listen_to(self._gangs.enter_context(Gang(self._context, size, self._gang.attempt + 1)))
        self._begin_stage()

    def _begin_stage(self) -> None:
        """Begin the gang's stage once there are free slots for it; others may be at work in this session."""
        failure, display = self._context.job.failure, self._context.display
        self._taking = self._gangs.enter_context(Turn(self._context.facts, failure.slots_s, display.phase))
        self._taking.wait(self._gang.size, self._pause)
        self._gang.begin(self._worker_spec)

    def _announce(self, attempt: FailedAttempt, wait_s: float) -> None:
        """Tell the journal, the screen and the user's hook of the attempt that comes."""
        event = Restarting(
            attempt=attempt.number + 1,
            how=attempt.how,
            workers=attempt.workers,
            step=attempt.resumed,
            reached=attempt.reached,
            wait_s=wait_s,
            cause=attempt.cause,
        )
        self._recorder.record(Reported("driver", 0, event))
        first = attempt.cause.describe().splitlines()[0]
        where = "with the same agents" if attempt.how == IN_PLACE else "as a new stage"
        self._context.display.phase(
            f"attempt {attempt.number} failed at step {attempt.reached}: {first}; attempt {attempt.number + 1} goes on "
            f"{where} from step {attempt.resumed} ({attempt.reason})"
        )


def last_word(error: MXSparkError, step: Next, failed: Sequence[Failed], max_restarts: int) -> MXSparkError:
    """Return what is raised: the last cause, why there is no further attempt, and the causes before it."""
    if not max_restarts or error.cause is None or error.cause.traits.is_asked_for:
        return error
    lines = [error.message, f"no further attempt is made: {step.reason}"]
    lines += [
        f"attempt {number} failed: {attempt.cause.describe().splitlines()[0]}"
        for number, attempt in enumerate(failed[:-1], 1)
    ]
    return type(error)("\n".join(lines), error.cause)
