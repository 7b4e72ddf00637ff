"""The training loop of a worker: steps, epochs, validation, checkpoints.

Every rank makes the same calls of the exchange in the same order; only rank 0 writes.
"""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from mxspark.data.reader import Reader
from mxspark.errors import InputError
from mxspark.job.spec import WorkerBundle
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatches
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.step import Stepper
from mxspark.mx.loop.validation import evaluate
from mxspark.mx.model import network as networks
from mxspark.mx.model.export import stage_model
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state import checkpoint_files
from mxspark.mx.state.checkpoint_writer import Stager
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events

LOG = logging.getLogger(__name__)


@dataclass
class Position:
    """Where training stands: steps done in all, the epoch it is in, steps done of that epoch."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0


@dataclass
class Best:
    """The best epoch so far by ``training.best_by``."""

    value: Optional[float] = None
    epoch: Optional[int] = None


class GluonLoop:
    """One attempt at training, on one rank.

    Parameters
    ----------
    bundle : WorkerBundle
        The job.
    exchange : Exchange
        The other workers.
    line : AgentChannel
        Where events go and commits come from.
    seconds : dict of str to float
        Phases of the start so far, completed here and reported.
    """

    def __init__(self, bundle: WorkerBundle, exchange: Exchange, line: AgentChannel, seconds: dict[str, float]) -> None:
        self.bundle, self.exchange, self.line, self.seconds = bundle, exchange, line, seconds
        self.position, self.best = Position(), Best()
        start = time.monotonic()
        self._open()
        self.seconds["build"] = time.monotonic() - start
        self._restore()
        start = time.monotonic()
        exchange.broadcast(tuple(self.network.parameters.values()))
        exchange.agree(checkpoint_files.digest(self.network.parameters), "before the first step")
        self.seconds["broadcast"] = time.monotonic() - start
        training = bundle.training
        self.stepper = Stepper(self.network, exchange, self.updater, self.metrics, training.seed, self.position.step)
        self._began, self._last_beat = time.monotonic(), -math.inf
        self._first = self.position.step
        self._staged_step: Optional[int] = None
        self.stager = Stager(line.send)

    def _open(self) -> None:
        """Map the data and build the network for it."""
        bundle, training = self.bundle, self.bundle.training
        rank, size = self.exchange.rank, self.exchange.size
        reading = (bundle.features, bundle.labels, rank, size, bundle.mapped_bytes)
        reader = Reader(bundle.training_data, *reading)
        if not reader.plan.rows:
            raise InputError("there is no row to train on: check data.path and data.validation")
        self.batches, self.validation = GluonBatches(reader), None
        if bundle.validation_data is not None and bundle.validation_data.plan.rows:
            self.validation = GluonBatches(Reader(bundle.validation_data, *reading))
        shapes = [(reader.local_rows, *reader.rows.layout[name][0]) for name in reader.features]
        self.network = networks.prepare(training, shapes)
        for data in filter(None, (bundle.training_data, bundle.validation_data)):
            networks.check_labels(training, self.network.output_shapes[0], bundle.labels, data)
        with training_code():
            parameters = tuple(self.network.parameters.values())
            self.updater = Updater(training.optimizer, training.schedule, parameters)
            self.metrics, self.validation_metrics = Metrics(training.metrics), Metrics(training.metrics)
        self._carried = np.zeros_like(self.metrics.sums())

    def _restore(self) -> None:
        restore = self.bundle.restore
        if restore is None:
            return
        start = time.monotonic()
        checkpoint = checkpoint_files.restore_checkpoint(restore.path)
        checkpoint_files.apply(checkpoint, self.network.parameters, self.updater)
        self.position = Position(restore.step, restore.epoch, restore.step_in_epoch)
        self._restore_metrics(checkpoint.state)
        self.seconds["restore"] = time.monotonic() - start

    def _restore_metrics(self, state: dict[str, Any]) -> None:
        """Go on counting where the checkpoint stood, unless the job now asks for other metrics."""
        training = self.bundle.training
        best_by = training.best_by
        # the first checkpoints did not say the direction
        if (state["best_by"], state.get("direction", best_by.direction)) == (best_by.metric, best_by.direction):
            self.best = Best(**state["best"])
        if state["metrics"] == [metric.name for metric in training.metrics]:
            self._carried = np.array([float.fromhex(value) for value in state["sums"]])
        elif self.position.step_in_epoch:
            epoch = self.position.epoch
            LOG.warning("the metrics are others than before: those of epoch %d leave out its start", epoch)

    def run(self) -> events.Done:
        """Train to the end; returns what to report once the exchange may be closed."""
        self.line.send(events.Started(self.position.step, self.position.epoch, self.network.size, dict(self.seconds)))
        epochs = range(self.position.epoch, self.bundle.training.epochs)
        self._epoch_began = time.monotonic()
        for batch in self.batches.through(epochs, self.position.step_in_epoch):
            if not self.line.goes_on(self.position.step):
                return self._end_early()
            self.stager.check()
            self.stepper.step(batch)
            self.position.step += 1
            self.position.step_in_epoch += 1
            self._beat("training")
            if self.position.step_in_epoch == self.batches.reader.plan.steps:
                self._end_epoch()
            elif self._due(self.bundle.checkpoint.every_steps, self.position.step):
                self._checkpoint_within_epoch()
        return self._end()

    def _end_epoch(self) -> None:
        self.stepper.settle()
        self.exchange.average(self.network.statistics)
        training = self.metrics.finish(self._fold())
        self._carried[:] = 0
        validation: dict[str, float] = {}
        if self.validation is not None:
            validation = evaluate(
                self.network, self.validation, self.validation_metrics, self.exchange, lambda: self._beat("validation")
            )
        epoch, now = self.position.epoch, time.monotonic()
        rows, seconds = self.batches.reader.plan.rows, now - self._epoch_began
        self.line.send(events.EpochEnd(epoch, self.position.step, rows, seconds, training, validation))
        self._keep_best({"training": training, "validation": validation})
        self.position.epoch, self.position.step_in_epoch = epoch + 1, 0
        spec = self.bundle.checkpoint
        if self._due(spec.every_epochs, epoch + 1) or self._due(spec.every_steps, self.position.step):
            self._stage_checkpoint()
        self._epoch_began = time.monotonic()

    def _fold(self) -> Any:
        """Add the sums of all ranks to those carried from earlier in the epoch: float64, the same on every rank."""
        self._carried = self._carried + self.exchange.sum(self.metrics.sums())
        self.metrics.reset()
        return self._carried

    def _checkpoint_within_epoch(self) -> None:
        self.stepper.settle()
        self.exchange.average(self.network.statistics)
        self._fold()
        self._stage_checkpoint()

    def _end_early(self) -> events.Done:
        """Keep what was done so far; every rank comes here at the same step."""
        self.stepper.settle()
        if self._is_news():
            self._checkpoint_within_epoch()
        return self._done()

    def _end(self) -> events.Done:
        if self._is_news():
            self._stage_checkpoint()
        self.stager.wait(lambda: self._beat("saving"))  # which finds out whether the network can be used
        self._stage_model("model", max(0, self.position.epoch - 1))
        return self._done()

    def _is_news(self) -> bool:
        """Whether the state of now is in no checkpoint yet, where checkpoints are wanted at all."""
        spec = self.bundle.checkpoint
        restored = self.bundle.restore.step if self.bundle.restore is not None else 0
        return bool(spec.every_epochs or spec.every_steps) and self.position.step not in (self._staged_step, restored)

    def _done(self) -> events.Done:
        digest = checkpoint_files.digest(self.network.parameters)
        self.exchange.agree(digest, "at the end of training")
        self.stager.wait(lambda: self._beat("saving"))
        self.line.drain()
        seconds = {**self.seconds, "training": time.monotonic() - self._began}
        return events.Done(self.position.step, digest, seconds)

    def _keep_best(self, seen: dict[str, dict[str, float]]) -> None:
        """Stage the model if this epoch is the best so far by validation."""
        if self.validation is None:
            return
        best_by = self.bundle.training.best_by
        value = seen[best_by.side][best_by.metric]
        if math.isnan(value) or not best_by.is_better(value, self.best.value):
            return
        self.best = Best(value, self.position.epoch)
        self._stage_model("best", self.position.epoch)

    def _stage_model(self, kind: str, epoch: int) -> None:
        if self.exchange.rank:
            return
        folder = self._folder(kind)
        with training_code():
            staged = stage_model(folder, self.network.block, self.bundle, kind, self.position.step, epoch)
        self.line.send(staged)

    def _stage_checkpoint(self) -> None:
        """Let rank 0 write a checkpoint, once the one before is committed."""
        self._staged_step = self.position.step
        if self.exchange.rank:
            return
        self.stager.wait(lambda: self._beat("saving"))
        self.line.wait_committed(lambda: self._beat("waiting for the commit of a checkpoint"))
        meta = {
            "step": self.position.step,
            "epoch": self.position.epoch,
            "step_in_epoch": self.position.step_in_epoch,
            "seed": self.bundle.training.seed,
            "best_by": self.bundle.training.best_by.metric,
            "direction": self.bundle.training.best_by.direction,
            "metrics": [metric.name for metric in self.bundle.training.metrics],
            "best": {"value": self.best.value, "epoch": self.best.epoch},
            "sums": [float(value).hex() for value in self._carried],
        }
        self.stager.begin(self._folder("checkpoint"), self.network.parameters, self.updater, meta)
        self._beat("saving")

    def _folder(self, kind: str) -> str:
        """Name a new folder; what an earlier attempt staged at this step may still lie there."""
        os.makedirs(self.bundle.staging, mode=0o700, exist_ok=True)
        return os.path.join(self.bundle.staging, f"{kind}-s{self.position.step:08d}-{os.getpid()}")

    @staticmethod
    def _due(every: Optional[int], number: int) -> bool:
        return every is not None and number % every == 0

    def _beat(self, doing: str) -> None:
        now = time.monotonic()
        if self.stepper.done == self._first or now - self._last_beat < self.bundle.beat_s:
            return  # the first beat is that of the first step, at once
        self._last_beat = now
        self.line.drain()
        sums = self.metrics.sums()
        self.line.send(
            events.Beat(
                step=self.stepper.done,
                epoch=self.position.epoch,
                rows=self.stepper.rows,
                seconds=now - self._began,
                waiting_s=self.batches.waited_s,
                meeting_s=self.exchange.waited_s,
                doing=doing,
                metrics=self.metrics.finish(sums) if sums[0] else {},
            )
        )
