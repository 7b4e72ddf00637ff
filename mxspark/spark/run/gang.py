"""The driver's side of a gang: its own agent, the barrier stage of the agents, and the talk with them."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from mxspark.agent import launch
from mxspark.config.job_config import JobConfig
from mxspark.errors import MXSparkError, NotStarted
from mxspark.errors.cause import Cause
from mxspark.job.spec import AgentSpec, DriverAgentSpec, Limits, WorkerSpec
from mxspark.protocol import codec, commands, events
from mxspark.protocol.events import Ended, Listening, Placed, Reported
from mxspark.protocol.specs import GroupSpec
from mxspark.spark.run import task
from mxspark.spark.run.context import RunContext
from mxspark.spark.session import compat
from mxspark.spark.session.call import SparkCall
from mxspark.spark.session.session import SessionFacts
from mxspark.topology import hosts, identity

_POLL_S = 0.2
_STOP_S = 8.0


class Gang:
    """The agents of one barrier stage and of the driver, and the attempts they make, one after the other.

    The driver's agent is started on construction. Use as a context manager: on any way out nothing
    is left running.

    Attributes
    ----------
    size : int
        Number of workers.
    on_turn : callable
        Called several times a second while the gang is listened to; what it raises ends the gang.
    attempt : int
        Number of the newest attempt begun; the first of this gang has the number `first`.
    ended : Ended or None
        How the newest attempt ended.
    """

    def __init__(self, session: SessionFacts, job: JobConfig, run_id: str, logs: Path, size: int, first: int) -> None:
        self.on_turn: Callable[[], None] = lambda: None
        self._session, self._job, self._run_id, self._logs, self.size = session, job, run_id, logs, size
        self._secret = secrets.token_hex(32)
        failure = job.failure
        self._limits = Limits(failure.start_s, failure.hang_s, failure.lease_s, failure.shutdown_s)
        self._sys_path = tuple(str(Path(entry).absolute()) for entry in sys.path)
        self._stage: Optional[SparkCall[list[str]]] = None
        self._closed = self._over = self._given_up = False
        self._heard = time.monotonic()
        self._stage_over_at: Optional[float] = None
        self.attempt = first - 1
        self.ended: Optional[Ended] = None
        spec = DriverAgentSpec(
            run_id=run_id,
            size=size,
            bind=session.driver_host,
            secret=self._secret,
            limits=self._limits,
            sys_path=self._sys_path,
            log_dir=str(logs),
            scratch=str(logs.parent),
            identity=identity.host_identity(),
            same_host=hosts.must_share_one(job.transport.mode),
            first=first,
        )
        self._agent, self._channel = launch.driver_agent(spec, sys.executable)

    @classmethod
    def of(cls, run: RunContext, size: int, first: int) -> Gang:
        """Return the gang of a run."""
        return cls(run.facts, run.job, run.run_id, run.scratch / "logs", size, first)

    def __enter__(self) -> Gang:
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self, why: str = "the driver gave up") -> None:
        """End every process of the gang, and the stage; once."""
        if self._closed:
            return
        self._closed = True
        if not self._over and not self._stop(why):
            self._agent.kill()  # left alone it would take itself for orphaned, and remove the run's files
        if self._stage is not None and not self._stage.done.wait(self._limits.shutdown_s):
            self._given_up = True  # Spark may wait for a lost node to be given up before it ends a stage
            self._stage.cancel(_STOP_S)
        self._agent.stop()

    def begin(self, bundle: WorkerSpec) -> None:
        """Hand the driver's agent its orders and start the barrier stage."""
        address = self._listening()
        self._send_begin(bundle)
        spec = AgentSpec(
            rank=0,
            size=self.size,
            run_id=self._run_id,
            address=address,
            secret=self._secret,
            limits=self._limits,
            sys_path=self._sys_path,
            log_dir=str(self._logs) if self._session.one_machine else None,
        )
        context = self._session.spark.sparkContext
        body = partial(task.run_slot, json.dumps(codec.encode(spec)))
        stage = context.parallelize(range(self.size), self.size).barrier().mapPartitions(body)
        description = f"mxspark {self._job.job.name}: {self.size} workers"
        self._stage = SparkCall(context, f"mxspark-{self._run_id}-gang", description, stage.collect)

    def again(self, bundle: WorkerSpec) -> None:
        """Begin the next attempt on the agents that are there."""
        self._send_begin(bundle)

    def talk(self) -> Iterator[Reported]:
        """Yield what agents and workers report until the attempt is over, `Ended` being the last.

        Raises
        ------
        ClusterError
            If the driver's agent is gone or Spark ended the stage; the gang cannot go on then.
        """
        self.ended = None
        while self.ended is None:
            message = self._receive()
            if message is None:
                continue
            who = message.pop("from", {"role": "driver", "rank": 0})
            event = events.from_wire(message)
            if isinstance(event, Ended):
                self.ended = event
                self._over = event.cause is None
            yield Reported(str(who["role"]), int(who["rank"]), event)

    def whole(self) -> bool:
        """Tell whether every agent lives, so that a next attempt can be made on them."""
        running = self._stage is not None and not self._stage.done.is_set()
        return running and not self._over and self.ended is not None and not self.ended.lost

    def cancelled(self) -> Optional[str]:
        """Return what Spark says if someone else cancelled the stage or stopped the session; ask after `close`."""
        error = self._stage.failed() if self._stage is not None and not self._given_up else None
        return compat.message_of(error) if error is not None and compat.is_cancelled(error) else None

    def said(self) -> Optional[str]:
        """Return all that Spark says of a stage that failed; ask after :meth:`close`."""
        error = self._stage.failed() if self._stage is not None else None
        return compat.all_text_of(error) if error is not None else None

    def pause(self, seconds: float) -> None:
        """Wait, and keep listening."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._receive()

    def committed(self, step: int) -> None:
        """Tell rank 0 that what it staged at `step` is published."""
        self._tell(commands.Committed(step))

    def end_early(self, why: str) -> None:
        """Have the workers agree on a step, make a last checkpoint there and end; :meth:`talk` goes on until then."""
        self._tell(commands.EndEarly(why))

    def _wanted(self) -> GroupSpec:
        """Return what roles an attempt needs; the driver's agent places them once the others have said where they are.

        So many servers as hosts are not known before that.
        """
        job, cluster = self._job, self._job.cluster
        a_server_a_host = cluster.num_servers is None and job.exchange == "hierarchical"
        return GroupSpec(
            servers=None if a_server_a_host else job.servers_for(self.size),
            servers_on_driver=cluster.servers_on_driver,
            sums_in_host=job.exchange == "hierarchical",
            mode=job.transport.mode,
            threads=cluster.threads_per_worker or self._session.task_cpus,
            server_threads=cluster.server_threads,
            environment=dict(cluster.environment),
        )

    def _send_begin(self, bundle: WorkerSpec) -> None:
        self.attempt += 1
        self._tell(commands.Begin(self.attempt, self._wanted(), codec.encode(bundle)))

    def _tell(self, command: commands.Command) -> None:
        # the agent may have ended meanwhile; talk() then finds its last words, or their absence
        with contextlib.suppress(ConnectionError):
            self._channel.send(commands.to_wire(command))

    def _listening(self) -> tuple[str, int]:
        deadline = time.monotonic() + self._limits.start_s
        while time.monotonic() < deadline:
            message = self._receive()
            event = events.from_wire(message) if message is not None else None
            if isinstance(event, Listening):
                return event.address
        raise NotStarted(
            f"the driver's agent did not open its port within {self._limits.start_s:g} s (failure.start_s); see what "
            "keeps this machine busy, or raise failure.start_s"
        )

    def _receive(self) -> Optional[dict[str, Any]]:
        """Return the next message, None if there was none for a moment."""
        self.on_turn()
        try:
            message = self._channel.receive(_POLL_S)
        except TimeoutError:
            self._look_at_agent()
            self._look_at_stage()
            return None
        self._heard = time.monotonic()
        if message is None:
            self._over = True
            raise self._agent_gone(self._agent.wait(_STOP_S)["message"])
        if "beat" in message:
            return None
        return None if self._is_placed(message) else message

    def _is_placed(self, message: dict[str, Any]) -> bool:
        """Tell whether a message says where the roles are; it names what is left behind if the agent is killed."""
        event = events.from_wire(message) if message.get("event") == Placed.__name__ else None
        if isinstance(event, Placed):
            self._agent.sockets = event.sockets
        return event is not None

    def _look_at_agent(self) -> None:
        """Give up an agent that has not even sent a beat: it is stopped, or the machine is."""
        silent_s = time.monotonic() - self._heard
        if silent_s > self._limits.lease_s:
            self._over = True
            self._agent.kill()
            raise self._agent_gone(f"it was silent for {silent_s:.1f} s (failure.lease_s = {self._limits.lease_s:g} s)")

    def _agent_gone(self, why: str) -> MXSparkError:
        words = f"the driver's own agent is gone, and the scheduler with it: {why}"
        return Cause.here("agent", "agent", words, rank=-1, pid=self._agent.pid, log_tail=_tail(self._logs)).as_error()

    def _look_at_stage(self) -> None:
        if self._stage is None or not self._stage.done.is_set():
            return
        error = self._stage.failed()
        if error is not None:
            raise self._stage_gone(f"Spark ended the workers' stage: {compat.message_of(error)}") from error
        self._stage_over_at = self._stage_over_at or time.monotonic()
        if time.monotonic() - self._stage_over_at > self._limits.shutdown_s:
            raise self._stage_gone(
                f"the workers' stage is over and the driver's agent says nothing: {'; '.join(self._stage.result())}"
            )

    def _stage_gone(self, why: str) -> MXSparkError:
        return Cause.here("stage", "driver", why).as_error()

    def _stop(self, why: str) -> bool:
        """Have the driver's agent end every role and itself; True once it has."""
        try:
            self._channel.send(commands.to_wire(commands.Stop(why)))
            deadline = time.monotonic() + _STOP_S
            while time.monotonic() < deadline:
                try:
                    message = self._channel.receive(_POLL_S)
                except TimeoutError:
                    continue
                if message is None:
                    return True
                self._is_placed(message)
        except OSError:
            return True  # the agent is gone, and its roles with it
        return False


def _tail(logs: Path) -> str:
    """Return the end of the agent's log."""
    path = logs / "agent-driver.log"
    return path.read_text(errors="replace")[-4096:] if path.exists() else ""
