"""The driver's side of a gang: its own agent, the barrier stage of the other agents, and the attempts they make."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.errors.phase import advance
from mxspark.errors.spelling import counted
from mxspark.job.spec import AgentSpec, DriverAgentSpec, Limits, WorkerSpec
from mxspark.protocol import codec, commands
from mxspark.protocol.events import Ended, Reported
from mxspark.protocol.specs import GroupSpec
from mxspark.spark.run.barrier_stage import BarrierStage
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.driver_agent import DriverAgent
from mxspark.topology import hosts, identity


class Phase(Enum):
    """Where a gang stands."""

    STARTED = "the driver's agent is there, and nothing is begun"
    ATTEMPT = "an attempt is being made"
    FAILED = "it has failed; agents that are left wait for the next"
    DONE = "it has succeeded, and every agent ends by itself"
    CLOSED = "nothing runs any more"


STEPS = {
    Phase.STARTED: (Phase.ATTEMPT, Phase.CLOSED),
    Phase.ATTEMPT: (Phase.FAILED, Phase.DONE, Phase.CLOSED),
    Phase.FAILED: (Phase.ATTEMPT, Phase.CLOSED),
    Phase.DONE: (Phase.CLOSED,),
    Phase.CLOSED: (),
}


class Gang:
    """The agents of one barrier stage and of the driver, and the attempts they make, one after the other.

    The driver's agent is started on construction. Use as a context manager: on any way out nothing is left running.

    Parameters
    ----------
    size : int
        Number of workers.
    first : int
        Number of the first attempt.

    Attributes
    ----------
    on_turn : callable
        Called several times a second while the gang is listened to; what it raises ends the gang.
    attempt : int
        Number of the newest attempt begun.
    ended : Ended or None
        How the newest attempt ended.
    """

    def __init__(self, context: RunContext, size: int, first: int) -> None:
        self.size = size
        self.attempt = first - 1
        self.ended: Optional[Ended] = None
        self.on_turn: Callable[[], None] = lambda: None
        self._context = context
        self._phase = Phase.STARTED
        self._stage: Optional[BarrierStage] = None
        self._agent = DriverAgent(_driver_agent_spec(context, size, first))

    def __enter__(self) -> Gang:
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self, why: str = "the driver gave up") -> None:
        """End every process of the gang, and the stage; once."""
        if self._phase is Phase.CLOSED:
            return
        was_done = self._phase is Phase.DONE
        self._go_to(Phase.CLOSED)  # first: an interrupt in the middle of this must not begin it again
        # in the order in which they hold each other: agents end when the driver's agent says so, tasks when their
        # agents have ended, and what a killed agent has left is only its own once nobody else can use it
        if not was_done:
            self._agent.end(why)
        if self._stage is not None:
            self._stage.close()
        self._agent.clean_up()

    def begin(self, worker_spec: WorkerSpec) -> None:
        """Hand the driver's agent its orders and start the barrier stage."""
        address = self._agent.wait_for_address(self._receive)
        # before the stage: an agent that joins shall find an attempt to join
        self._begin_attempt(worker_spec)
        facts = self._context.facts
        spec = self._agent.spec
        of_slot = AgentSpec(
            rank=0,
            size=self.size,
            run_id=spec.run_id,
            address=address,
            secret=spec.secret,
            limits=spec.limits,
            sys_path=spec.sys_path,
            log_dir=spec.log_dir if facts.one_machine else None,  # elsewhere there is no such folder
        )
        description = f"mxspark {self._context.job.job.name}: {counted(self.size, 'worker')}"
        self._stage = BarrierStage(facts.spark.sparkContext, of_slot, description)

    def restart(self, worker_spec: WorkerSpec) -> None:
        """Begin the next attempt on the agents that are there."""
        self._begin_attempt(worker_spec)

    def events(self) -> Iterator[Reported]:
        """Yield what agents and workers report until the attempt is over, `Ended` being the last.

        Raises
        ------
        ClusterError
            If the driver's agent is gone or Spark ended the stage; the gang cannot go on then.
        """
        while self.ended is None:
            reported = self._receive()
            if reported is None:
                continue
            if isinstance(reported.event, Ended):
                self.ended = reported.event
                self._go_to(Phase.DONE if self.ended.cause is None else Phase.FAILED)
            yield reported

    def can_restart_in_place(self) -> bool:
        """Whether every agent lives, so that a next attempt can be made on them."""
        if self._phase is not Phase.FAILED or self._agent.has_ended:
            return False
        is_held = self._stage is not None and self._stage.is_running()
        return is_held and self.ended is not None and not self.ended.lost

    def cancellation(self) -> Optional[str]:
        """Return what Spark says if someone else cancelled the stage or stopped the session; ask after `close`."""
        return self._stage.cancellation() if self._stage is not None else None

    def spark_error(self) -> Optional[str]:
        """Return all that Spark says of a stage that failed; ask after :meth:`close`."""
        return self._stage.error() if self._stage is not None else None

    def drain(self, seconds: float) -> None:
        """Wait, and take what is still reported of the attempt that has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._receive()

    def confirm_commit(self, step: int) -> None:
        """Tell rank 0 that what it staged at `step` is published."""
        self._agent.tell(commands.Committed(step))

    def end_early(self, why: str) -> None:
        """Have the workers agree on a step, make a last checkpoint there and end; :meth:`events` go on until then."""
        self._agent.tell(commands.EndEarly(why))

    def _begin_attempt(self, worker_spec: WorkerSpec) -> None:
        self._go_to(Phase.ATTEMPT)
        self.attempt += 1
        self.ended = None
        self._agent.tell(commands.Begin(self.attempt, _group_spec(self._context, self.size), codec.encode(worker_spec)))

    def _receive(self) -> Optional[Reported]:
        """Return what is reported next, None if nothing was for a moment."""
        # first, and not only in silence: workers may report so much that it is never quiet
        self.on_turn()
        try:
            return self._agent.receive()
        except TimeoutError:
            # only now that the agent has nothing more to say: if the stage is over, its last words say why
            if self._stage is not None:
                self._stage.ensure_in_use()
            return None

    def _go_to(self, phase: Phase) -> None:
        self._phase = advance("the gang", self._phase, phase, STEPS)


def _driver_agent_spec(context: RunContext, size: int, first: int) -> DriverAgentSpec:
    failure = context.job.failure
    return DriverAgentSpec(
        run_id=context.run_id,
        size=size,
        bind=context.facts.driver_host,
        secret=secrets.token_hex(32),  # of this gang: an agent of one that was given up does not get in
        limits=Limits(failure.start_s, failure.hang_s, failure.lease_s, failure.shutdown_s),
        # absolute: "" and relative entries mean the driver's working directory, which is not that of a task
        sys_path=tuple(str(Path(entry).absolute()) for entry in sys.path),
        log_dir=str(context.scratch / "logs"),
        scratch=str(context.scratch),
        identity=identity.host_identity(),
        same_host=hosts.must_share_one(context.job.transport.mode),
        first=first,
    )


def _group_spec(context: RunContext, size: int) -> GroupSpec:
    """Return what roles an attempt needs; the driver's agent places them once the others have said where they are.

    So many servers as hosts are not known before that.
    """
    job: JobConfig = context.job
    cluster = job.cluster
    is_hierarchical = job.exchange == "hierarchical"
    return GroupSpec(
        servers=None if cluster.num_servers is None and is_hierarchical else job.servers_for(size),
        servers_on_driver=cluster.servers_on_driver,
        sums_in_host=is_hierarchical,
        mode=job.transport.mode,
        threads=cluster.threads_per_worker or context.facts.task_cpus,
        server_threads=cluster.server_threads,
        environment=dict(cluster.environment),
    )
