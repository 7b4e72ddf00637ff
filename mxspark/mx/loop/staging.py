"""When checkpoints are due, and the local folders from which the driver publishes them and models."""

from __future__ import annotations

import os
from typing import Callable, Optional

from mxspark.job.spec import WorkerSpec
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state.checkpoint_writer import CheckpointWriter, Snapshot
from mxspark.protocol import events


class Staging:
    """Every rank knows what is due; rank 0 alone writes it.

    Parameters
    ----------
    spec : WorkerSpec
        Says when a checkpoint is due, and where to write.
    rank : int
        This worker.
    agent : AgentChannel
        Told what was written, tells what was committed.
    beat : callable
        Called with what is done while there is nothing to do but wait.
    """

    def __init__(self, spec: WorkerSpec, rank: int, agent: AgentChannel, beat: Callable[[str], None]) -> None:
        self._due = spec.checkpoint
        self._folder = spec.staging
        self._rank = rank
        self._agent = agent
        self._beat = beat
        self._writer = CheckpointWriter(agent.send)
        self._newest = spec.restore.step if spec.restore is not None else 0

    def is_due(self, step: int, epochs: Optional[int] = None) -> bool:
        """Tell whether to keep the state after so many steps, and, at the end of one, after so many epochs."""
        after_epoch = epochs is not None and _divides(self._due.every_epochs, epochs)
        return after_epoch or _divides(self._due.every_steps, step)

    def is_news(self, step: int) -> bool:
        """Tell whether the state of now is in no checkpoint yet, where checkpoints are wanted at all."""
        return bool(self._due.every_epochs or self._due.every_steps) and step != self._newest

    def check(self) -> None:
        """Raise what went wrong with the checkpoint that is being written."""
        self._writer.check()

    def wait(self) -> None:
        """Return once nothing is being written."""
        self._writer.wait(lambda: self._beat("saving"))

    def checkpoint(self, step: int, snapshot: Callable[[], Snapshot]) -> None:
        """Let rank 0 begin to write a checkpoint, once the one before is committed."""
        self._newest = step
        if self._rank:
            return
        # In this order: what is written is uncommitted from then on, and the driver publishes one at a time.
        self.wait()
        self._agent.wait_committed(lambda: self._beat("waiting for the commit of a checkpoint"))
        self._writer.begin(self._new_folder("checkpoint", step), snapshot())
        self._beat("saving")

    def model(self, kind: str, step: int, write: Callable[[str], events.Staged]) -> None:
        """Let rank 0 write a model."""
        if self._rank:
            return
        with training_code():
            staged = write(self._new_folder(kind, step))
        self._agent.send(staged)

    def _new_folder(self, kind: str, step: int) -> str:
        """Name a new folder; what an earlier attempt staged at this step may still lie there, being published."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        return os.path.join(self._folder, f"{kind}-s{step:08d}-{os.getpid()}")


def _divides(every: Optional[int], number: int) -> bool:
    return every is not None and number % every == 0
