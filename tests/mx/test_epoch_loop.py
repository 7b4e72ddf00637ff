"""The part that loops have in common, over something that trains nothing: what is called in which order, and when."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from alone import Alone
from role_harness import make_spec

from mxspark.errors import TrainingCodeError
from mxspark.job.spec import Restore
from mxspark.mx.loop.base import EpochLoop
from mxspark.protocol import events


class FakeSnapshot:
    """A copy of nothing, whose meta is looked at."""

    def __init__(self, meta):
        self.meta = meta

    def write(self, folder):
        return events.Staged("checkpoint", folder, self.meta["step"], self.meta["epoch"], (), self.meta)


class FakeTrainable:
    """A `Trainable` of three steps an epoch; its validation loss is what it was given, epoch by epoch."""

    steps_per_epoch, rows_per_epoch, size = 3, 30, 7
    waited_s = 0.0
    graph = ()

    def __init__(self, losses=()):
        self.factors = {}
        self.losses = list(losses)
        self.calls = []
        self.done = self.rows = 0
        self.meta = {}

    def broadcast(self):
        self.calls.append("broadcast")

    def batches(self, epochs, first_step):
        for epoch in epochs:
            yield from range(first_step if epoch == epochs.start else 0, self.steps_per_epoch)

    def step(self, batch):
        self.done += 1
        self.calls.append("step")

    def settle(self):
        self.calls.append("settle")

    def gather(self):
        self.calls.append("gather")

    def metrics(self):
        return {}

    def end_epoch(self, beat):
        self.calls.append("end epoch")
        validation = {"accuracy": self.losses.pop(0)} if self.losses else {}
        return {"training": {"accuracy": 0.0}, "validation": validation}

    def notes(self):
        return []

    def digest(self):
        return "00"

    def state(self, meta):
        self.calls.append("state")
        return FakeSnapshot(meta)

    def restore(self, restore):
        self.done = restore.step
        return self.meta

    def write_model(self, folder, kind, step, epoch):
        self.calls.append(kind)
        return events.Staged(kind, folder, step, epoch, (), {})


class FakeAgent:
    """An agent that commits at once, and may want the end after some steps."""

    def __init__(self, last=None):
        self.events: list[Any] = []
        self.last = last

    def send(self, event):
        self.events.append(event)

    def goes_on(self, begun):
        return self.last is None or begun < self.last

    def drain(self):
        """All orders were understood."""

    def wait_committed(self, beat):
        """It is."""


def run(spec, trained, agent=None):
    """Run a loop to its end; returns what it reported and the kinds and steps of what it staged, in order."""
    agent = agent or FakeAgent()
    done = EpochLoop(spec, trained, Alone(), agent, {}).run()
    return done, [(e.kind, e.step) for e in agent.events if isinstance(e, events.Staged)], agent


@pytest.fixture
def spec(tmp_path):
    return make_spec(tmp_path, epochs=2, every_epochs=1)


def test_an_epoch_is_settled_and_gathered_before_it_is_measured_and_kept(spec):
    trained = FakeTrainable()
    done, staged, agent = run(spec, trained)
    epoch = ["step"] * 3 + ["settle", "gather", "end epoch", "state"]
    assert trained.calls == ["broadcast", *epoch, *epoch, "model"]
    assert (done.step, staged) == (6, [("checkpoint", 3), ("checkpoint", 6), ("model", 6)])
    assert [(e.epoch, e.step, e.rows) for e in agent.events if isinstance(e, events.EpochEnd)] == [
        (0, 3, 30),
        (1, 6, 30),
    ]
    assert agent.events[0] == events.Started(0, 0, 7, agent.events[0].seconds)


def test_a_checkpoint_within_an_epoch_gathers_first_and_none_is_written_twice(spec):
    spec = replace(spec, checkpoint=replace(spec.checkpoint, every_steps=2, every_epochs=None))
    trained = FakeTrainable()
    _, staged, _ = run(spec, trained)
    assert staged == [("checkpoint", 2), ("checkpoint", 4), ("checkpoint", 6), ("model", 6)]
    assert trained.calls[1:6] == ["step", "step", "settle", "gather", "state"]


def test_without_checkpoints_there_is_a_model_alone(spec):
    spec = replace(spec, checkpoint=replace(spec.checkpoint, every_epochs=None))
    assert run(spec, FakeTrainable())[1] == [("model", 6)]


@pytest.mark.parametrize(("last", "staged"), [(0, []), (2, [("checkpoint", 2)]), (3, [("checkpoint", 3)])])
def test_an_early_end_keeps_what_is_in_no_checkpoint_yet_and_makes_no_model(spec, last, staged):
    done, found, _ = run(spec, FakeTrainable(), FakeAgent(last))
    assert (done.step, found) == (last, staged)


def test_an_early_end_without_checkpoints_makes_the_ranks_equal_all_the_same(spec):
    """Running statistics are each rank's own before that, and ranks that differ end with an error."""
    spec = replace(spec, checkpoint=replace(spec.checkpoint, every_epochs=None))
    trained = FakeTrainable()
    done, staged, _ = run(spec, trained, FakeAgent(2))
    assert (done.step, staged) == (2, [])
    assert trained.calls == ["broadcast", "step", "step", "settle", "gather"]


@pytest.mark.parametrize(
    ("best_by", "values", "best"),
    [
        (None, [0.5, 0.4, 0.6, float("nan")], [3, 9]),
        ({"direction": "min", "metric": "accuracy"}, [0.5, 0.4, 0.6, 0.4], [3, 6]),
    ],
)
def test_the_best_epoch_is_staged_before_the_checkpoint_that_remembers_it(spec, best_by, values, best):
    training = replace(spec.training, epochs=4)
    if best_by is not None:
        training = replace(training, best_by=replace(training.best_by, **best_by))
    trained = FakeTrainable(values)
    _, staged, _ = run(replace(spec, training=training), trained)
    assert [step for kind, step in staged if kind == "best"] == best
    assert staged[:2] == [("best", 3), ("checkpoint", 3)]


def test_a_resumed_loop_goes_on_within_its_epoch_and_knows_the_best(spec):
    spec = replace(spec, restore=Restore("unused", 4, 1, 1))
    trained = FakeTrainable([0.8])
    trained.meta = {"best_by": "accuracy", "best": {"value": 0.9, "epoch": 0}}
    done, staged, agent = run(spec, trained)
    assert (agent.events[0].step, agent.events[0].epoch) == (4, 1)
    assert trained.calls == ["broadcast", "step", "step", "settle", "gather", "end epoch", "state", "model"]
    assert (done.step, staged) == (6, [("checkpoint", 6), ("model", 6)]), "0.8 is no better than the 0.9 of before"


def test_the_best_of_another_metric_or_direction_does_not_count(spec):
    spec = replace(spec, restore=Restore("unused", 3, 1, 0))
    for other in ({"best_by": "loss"}, {"best_by": "accuracy", "direction": "min"}):
        trained = FakeTrainable([0.8])
        trained.meta = {**other, "best": {"value": 0.9, "epoch": 0}}
        assert ("best", 6) in run(spec, trained)[1]
    trained = FakeTrainable([0.8])
    trained.meta = {"best_by": "accuracy", "best": {"value": 0.9, "epoch": 0}}
    otherwise = replace(spec, restore=Restore("unused", 3, 1, 0, keeps_best=False))
    assert ("best", 6) in run(otherwise, trained)[1], "one of the name may be another metric"


def test_a_checkpoint_that_fails_ends_training_at_the_next_step(spec):
    class Bad(FakeSnapshot):
        def write(self, folder):
            raise TrainingCodeError("the loss became NaN")

    trained = FakeTrainable()
    trained.state = Bad
    with pytest.raises(TrainingCodeError, match="the loss became NaN"):
        run(spec, trained)
    assert "model" not in trained.calls


def test_the_loop_itself_costs_microseconds_a_step(spec):
    steps = 20_000
    trained = FakeTrainable()
    trained.steps_per_epoch = steps
    spec = replace(spec, beat_s=0.2, training=replace(spec.training, epochs=1))
    start = time.process_time()
    run(spec, trained)
    seconds = time.process_time() - start
    print(f"{seconds / steps * 1e6:.1f} us a step")
    assert seconds / steps < 50e-6
