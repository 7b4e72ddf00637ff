"""What every loop that trains by steps and epochs has in common: position, beats, checkpoints, early end, best epoch.

Every rank makes the same calls of the exchange in the same order; only rank 0 writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

from mxspark.job.spec import Restore, WorkerSpec
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.beats import Beats, Position
from mxspark.mx.loop.staging import Staging
from mxspark.mx.loop.trainable import Trainable
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.protocol import events


@dataclass(frozen=True)
class Best:
    """The best epoch so far by ``training.best_by``."""

    value: Optional[float] = None
    epoch: Optional[int] = None


class EpochLoop:
    """Steps and epochs over a `Trainable`: a `Loop`.

    Parameters
    ----------
    spec : WorkerSpec
        The job.
    trained : Trainable
        What is trained.
    exchange : Exchange
        The other workers.
    agent : AgentChannel
        Where events go and commits come from.
    seconds : dict of str to float
        Phases of the start so far, completed here and reported.
    """

    def __init__(
        self, spec: WorkerSpec, trained: Trainable, exchange: Exchange, agent: AgentChannel, seconds: dict[str, float]
    ) -> None:
        self._spec = spec
        self._trained = trained
        self._exchange = exchange
        self._agent = agent
        self._seconds = seconds
        self._position = Position()
        self._best = Best()
        if spec.restore is not None:
            self._restore(spec.restore)
        start = time.monotonic()
        # After the checkpoint was applied, not before: all ranks have read it, and still rank 0's bits are what counts.
        trained.broadcast()
        exchange.agree(trained.digest(), "before the first step")
        seconds["broadcast"] = time.monotonic() - start
        self._beat = Beats(agent, trained, exchange, self._position, spec.beat_s)
        self._staging = Staging(spec, exchange.rank, agent, self._beat)

    @property
    def step(self) -> int:
        """Steps whose numbers are known."""
        return self._trained.done

    def _restore(self, restore: Restore) -> None:
        start = time.monotonic()
        state = self._trained.restore(restore)
        self._position = Position(restore.step, restore.epoch, restore.step_in_epoch)
        best_by = self._spec.training.best_by
        # A best value of another metric says nothing about this one. The first checkpoints did not say the direction.
        is_same = (state["best_by"], state.get("direction", best_by.direction)) == (best_by.metric, best_by.direction)
        if is_same and restore.keeps_best:
            self._best = Best(**state["best"])
        self._seconds["restore"] = time.monotonic() - start

    def run(self) -> events.Done:
        """Train to the end; returns what to report once the exchange may be closed."""
        position, trained = self._position, self._trained
        started = events.Started(position.step, position.epoch, trained.size, dict(self._seconds))
        if self._exchange.rank == 0:  # it may be long, and is the same on every rank
            started = replace(started, graph=trained.graph, factors=trained.factors)
        self._agent.send(started)
        self._tell_notes()
        epochs = range(position.epoch, self._spec.training.epochs)
        epoch_began = time.monotonic()
        for batch in trained.batches(epochs, position.step_in_epoch):
            # Asked before the step, which needs every rank: who begins one that another does not would wait for ever.
            if not self._agent.goes_on(position.step):
                return self._end_early()
            self._staging.check()
            trained.step(batch)
            position.advance()
            self._beat("training")
            if position.step_in_epoch == trained.steps_per_epoch:
                self._end_epoch(epoch_began)
                epoch_began = time.monotonic()
            elif self._staging.is_due(position.step):
                self._checkpoint_within_epoch()
        return self._end()

    def _end_epoch(self, began: float) -> None:
        trained, position = self._trained, self._position
        trained.settle()
        trained.gather()
        metrics = trained.end_epoch(self._beat)
        epoch, seconds = position.epoch, time.monotonic() - began
        training, validation = metrics["training"], metrics["validation"]
        rows = trained.rows_per_epoch
        self._tell_notes()
        self._agent.send(events.EpochEnd(epoch, position.step, rows, seconds, training, validation))
        # Before the checkpoint, which remembers the best epoch: a run resumed from it never stages that model again.
        self._keep_best(metrics)
        position.begin_next_epoch()
        if self._staging.is_due(position.step, epochs=position.epoch):
            self._stage_checkpoint()

    def _checkpoint_within_epoch(self) -> None:
        self._trained.settle()
        self._trained.gather()
        self._stage_checkpoint()

    def _end_early(self) -> events.Done:
        """Keep what was done so far; every rank comes here at the same step."""
        self._trained.settle()
        # Also where no checkpoint is made: until then each rank has running statistics of its own rows, and in the end
        # the ranks would be found to differ. At the end of an epoch what is gathered is of the next, and empty.
        self._trained.gather()
        if self._staging.is_news(self._position.step):
            self._stage_checkpoint()
        return self._done(self._trained.digest())

    def _end(self) -> events.Done:
        digest = self._trained.digest()  # raises where a value is not finite: a model of NaN must not be published
        if self._staging.is_news(self._position.step):
            self._stage_checkpoint()
        self._staging.wait()  # in this order: once the model of the last epoch is there, nothing is left to train
        self._stage_model("model", max(0, self._position.epoch - 1))
        return self._done(digest)

    def _done(self, digest: str) -> events.Done:
        self._exchange.agree(digest, "at the end of training")
        # Whoever reports to be done may be told to leave: what is still being written would be lost.
        self._staging.wait()
        self._agent.drain()
        return events.Done(self._position.step, digest, {**self._seconds, "training": self._beat.seconds()})

    def _tell_notes(self) -> None:
        for text in self._trained.notes():
            if self._exchange.rank == 0:  # the others have noticed no more
                self._agent.send(events.Noted(text))

    def _keep_best(self, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Stage the model if this epoch is the best so far; only validation rows, if there are any, can tell."""
        if not metrics["validation"]:
            return
        best_by = self._spec.training.best_by
        value = metrics[best_by.side][best_by.metric]
        if not math.isfinite(value) or not best_by.is_better(value, self._best.value):
            return
        self._best = Best(value, self._position.epoch)
        self._stage_model("best", self._position.epoch)

    def _stage_model(self, kind: str, epoch: int) -> None:
        step = self._position.step
        self._staging.model(kind, step, lambda folder: self._trained.write_model(folder, kind, step, epoch))

    def _stage_checkpoint(self) -> None:
        training = self._spec.training
        meta = {
            "step": self._position.step,
            "epoch": self._position.epoch,
            "step_in_epoch": self._position.step_in_epoch,
            "seed": training.seed,
            "best_by": training.best_by.metric,
            "direction": training.best_by.direction,
            "best": {"value": self._best.value, "epoch": self._best.epoch},
        }
        self._staging.checkpoint(self._position.step, lambda: self._trained.state(meta))
