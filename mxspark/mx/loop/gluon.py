"""Gluon under the common loop: a network, its steps, its metrics, and the model that leaves training."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Callable, Optional

from mxspark.data.reader import Reader
from mxspark.errors import InputError
from mxspark.job import fixed
from mxspark.job.spec import BestBy, Restore, TrainingSpec, WorkerSpec
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.arrays import Shapes
from mxspark.mx.loop.base import EpochLoop
from mxspark.mx.loop.batches import GluonBatch
from mxspark.mx.loop.beats import Preparation
from mxspark.mx.loop.epoch_metrics import EpochMetrics
from mxspark.mx.loop.first_steps import FirstSteps
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.notes import Notes
from mxspark.mx.loop.remarks import remarks
from mxspark.mx.loop.rows import open_rows
from mxspark.mx.loop.rowwise import RowwiseLoss
from mxspark.mx.loop.step import Stepper
from mxspark.mx.loop.validation import Validation
from mxspark.mx.loop.whole import WholeMetrics, refuse_without_validation
from mxspark.mx.model import fit, ids
from mxspark.mx.model import network as networks
from mxspark.mx.model.export import stage_model
from mxspark.mx.model.factors import factors
from mxspark.mx.model.frozen import Trained
from mxspark.mx.model.label_order import ordered
from mxspark.mx.model.network import Network
from mxspark.mx.runtime.agent_channel import AgentChannel
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state import checkpoint_files
from mxspark.mx.state.checkpoint_files import Snapshot
from mxspark.mx.state.finite import Finite
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events

LOG = logging.getLogger(__name__)


def make(spec: WorkerSpec, exchange: Exchange, agent: AgentChannel, seconds: dict[str, float]) -> EpochLoop:
    """Return the loop of a job whose network is a Gluon block; as `loops.LOOPS` names it."""
    start = time.monotonic()
    trained = GluonTrainable(spec, exchange, Preparation(agent, spec.beat_s))
    seconds["build"] = time.monotonic() - start
    return EpochLoop(spec, trained, exchange, agent, seconds)


class GluonTrainable:
    """A Gluon network on the rows of one rank: a `trainable.Trainable`.

    Parameters
    ----------
    spec : WorkerSpec
        The job.
    exchange : Exchange
        The other workers.
    get_on : callable, optional
        Is told how many of how many rows have been looked at before the first step.
    """

    def __init__(self, spec: WorkerSpec, exchange: Exchange, get_on: ids.GetOn = lambda done, total: None) -> None:
        training = spec.training
        self._spec = spec
        self._exchange = exchange
        self._batches = open_rows(spec, exchange, spec.training_data)
        if not self.rows_per_epoch:
            raise InputError("there is no row to train on: check data.path and data.validation")
        self._notes = Notes()
        # Rows before the network: the shapes of its parameters follow from theirs.
        self._network = _build(spec, self._batches.reader, exchange, get_on, self._notes)
        with training_code():
            # All parameters, in the network's own order: the optimizer's state is stored by index.
            self._updater = Updater(training.optimizer, training.schedule, tuple(self._network.parameters.values()))
            shapes = _shapes(spec, self._network, self._batches.reader)
            self._metrics = EpochMetrics(spec, exchange, Metrics(spec.training.metrics, shapes, spec.weighed_by))
            self._validation = _validation(spec, exchange, shapes)
        if exchange.rank == 0:  # who says it
            for text in remarks(spec, self._network, self._updater.schedule):
                self._notes.add(text)
        by = _schedule_label(training, self._updater)
        self._first = FirstSteps(Trained.of(self._network), self._notes, by)
        self._stepper = Stepper(
            self._network, exchange, self._updater, self._metrics.own, seed=training.seed, first=self._first
        )

    @property
    def steps_per_epoch(self) -> int:
        """Of all ranks together, as those of one: every rank makes the same."""
        return self._batches.reader.plan.steps

    @property
    def rows_per_epoch(self) -> int:
        """Of all ranks together."""
        return self._batches.reader.plan.rows

    @property
    def size(self) -> int:
        """Number of trained values."""
        return self._network.size

    @property
    def done(self) -> int:
        """Steps whose numbers have been read, since the start of the job."""
        return self._stepper.done

    @property
    def rows(self) -> int:
        """Real rows of this rank in those of this process."""
        return self._stepper.rows

    @property
    def graph(self) -> tuple[str, ...]:
        """What the network computes."""
        return self._network.graph

    @property
    def factors(self) -> dict[str, str]:
        """What the parameters say beside that."""
        return factors(self._network.parameters)

    @property
    def waited_s(self) -> float:
        """Seconds this rank has waited for rows."""
        return self._batches.waited_s

    def broadcast(self) -> None:
        """Give every rank the values of rank 0."""
        self._exchange.begin(tuple(self._network.parameters.values()), self._updater)

    def batches(self, epochs: range, first_step: int) -> Iterator[GluonBatch]:
        """Yield the batches of some epochs; the first of an epoch is read while the last of the one before runs."""
        return self._batches.through(epochs, first_step)

    def step(self, batch: GluonBatch) -> None:
        """Issue one step, and read the numbers of the one before."""
        self._stepper.step(batch)

    def settle(self) -> None:
        """Read the numbers of the step still out."""
        self._stepper.settle()

    def gather(self) -> None:
        """Average running statistics, which each rank has of its own rows, and add up the metrics."""
        # Without this the ranks would differ at the end of training, in what no gradient keeps equal.
        self._exchange.average(self._network.statistics)
        self._metrics.gather()

    def metrics(self) -> dict[str, float]:
        """Return this rank's metrics since the epoch began or was last gathered."""
        return self._metrics.running()

    def end_epoch(self, beat: Callable[[str], None]) -> dict[str, dict[str, float]]:
        """Return the metrics of all ranks, after a pass over the validation rows where there are any."""
        when = self._when()
        finite = self._finite
        # First of all, and on every rank: nothing that is kept of this epoch is of parameters that are not finite.
        finite.check_parameters(when)
        values: dict[str, dict[str, float]] = {"training": {}, "validation": {}}
        values["training"], unknown = self._metrics.finish(when)
        self._note_unknown(unknown, "training")
        self._first.end_epoch(values["training"]["loss"], self._updater.learning_rate)
        if self._validation is not None:
            values["validation"], unknown = self._validation.evaluate(
                self._network, self._exchange, lambda: beat("validation"), finite, when
            )
            self._note_unknown(unknown, "validation")
        return values

    def _note_unknown(self, without: Mapping[str, str], side: str) -> None:
        for name, why in without.items():
            self._notes.add(f"metric {name} has no value for the {side} rows: {why}")

    def notes(self) -> list[str]:
        """Return what should be known of this job and is no error; each once."""
        return self._notes.take()

    def digest(self) -> str:
        """Return the sha256 of all parameters.

        Raises
        ------
        Diverged
            If one of them is not finite.
        """
        self._finite.check_parameters(self._when())
        return checkpoint_files.digest(self._network.parameters)

    def _when(self) -> str:
        return f"after step {self.done}" if self.done else "before the first step"

    @property
    def _finite(self) -> Finite:
        return Finite(self._network.parameters, self._updater)

    def state(self, meta: Mapping[str, Any]) -> Snapshot:
        """Return a copy of parameters, statistics, optimizer, schedule and metrics so far."""
        with training_code():
            # MXNet's engine makes the copies, after the updates that are out and before those to come. Metrics are
            # those of the same step: the loop has settled and gathered.
            all_of_it = {**meta, **self._metrics.state()}
            return checkpoint_files.snapshot(self._network.parameters, self._updater, all_of_it)

    def restore(self, restore: Restore) -> Mapping[str, Any]:
        """Put a checkpoint into the network, its updater and its metrics."""
        checkpoint = checkpoint_files.restore_checkpoint(restore.path)
        checkpoint_files.apply(checkpoint, self._network.parameters, self._updater)
        # Random operators are seeded by the number of the step: counted from 0 they would draw other masks.
        self._stepper.done = restore.step
        if not self._metrics.restore(checkpoint.state) and restore.step_in_epoch:
            LOG.warning("the metrics are others than before: those of epoch %d leave out its start", restore.epoch)
        return checkpoint.state

    def write_model(self, folder: str, kind: str, step: int, epoch: int) -> events.Staged:
        """Export the network as it is now."""
        return stage_model(folder, self._network.block, self._spec, kind, step=step, epoch=epoch)


def _schedule_label(training: TrainingSpec, updater: Updater) -> Optional[str]:
    if training.schedule is not None:
        return f"training.schedule {training.schedule.name}"
    return None if updater.schedule is None else "the schedule of training.optimizer"


def _shapes(spec: WorkerSpec, network: Network, reader: Reader) -> Shapes:
    outputs = tuple(shape[1:] for shape in network.output_shapes)
    labels = tuple(reader.rows.layout[label.name][0] for label in spec.labels)
    return Shapes(outputs, labels, network.ends)


def _validation(spec: WorkerSpec, exchange: Exchange, shapes: Shapes) -> Optional[Validation]:
    metrics = Metrics(spec.training.metrics, shapes, spec.weighed_by)
    _check_direction(metrics.directions, spec.training.best_by)
    data = spec.validation_data
    if data is None or not data.plan.rows:
        refuse_without_validation(metrics.whole)
        return None
    whole = WholeMetrics(metrics.whole, shapes, data.plan.rows)
    return Validation(open_rows(spec, exchange, data), metrics, whole)


def _check_direction(known: Mapping[str, str], best_by: BestBy) -> None:
    """Refuse a direction that was said of a function and contradicts the class of MXNet's that it made."""
    means = known.get(best_by.metric, best_by.direction)
    if means != best_by.direction:
        raise InputError(
            f"training.best_by says that {best_by.direction} is better, but {best_by.metric} returns a metric of "
            f"MXNet's of which it is {means}: set direction: {means}"
        )


def _build(spec: WorkerSpec, reader: Reader, exchange: Exchange, get_on: ids.GetOn, notes: Notes) -> Network:
    """Build the network for the rows there are, and hold labels and ids against its outputs and tables."""
    # Of a whole batch array, padding included: all steps of a rank have one shape, so that its graph is made once.
    shapes = [(reader.local_rows, *reader.rows.layout[name][0]) for name in reader.features]
    network = networks.prepare(spec.training, shapes, spec.features)
    other = fixed.other_graph(spec.graph, network.graph) if spec.graph is not None else None
    if other is not None:
        raise InputError(fixed.refusal(spec.training.network.label, other))
    if spec.training.loss.function is not None:
        network = replace(network, loss=ordered(network.loss, [label.name for label in spec.labels]))
    fit.check(network, spec, exchange.rank, exchange.size, get_on)
    if spec.training.loss.function is None:
        return network
    # last: the graph of a loss that is a block has been looked at by then
    names = [label.name for label in spec.labels]
    return replace(network, loss=RowwiseLoss(network.loss, names, notes.add))
