"""Training with real roles: exact however many workers, exact after a kill, clear when user code fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
import role_jobs
from mxnet import autograd, gluon
from role_harness import digits, make_spec, run_group

from mxspark.data.reader import Reader
from mxspark.job.spec import Component, Function
from mxspark.mx.model import network as networks
from mxspark.protocol import events

SGD = Component("sgd", {"learning_rate": 0.02, "momentum": 0.9, "wd": 1e-4})
ADAM = Component("adam", {"learning_rate": 0.003})


def final(outcome):
    """Return the parameters of the last checkpoint by structural name."""
    assert outcome.returncodes == [0] * len(outcome.events), outcome.logs
    return mx.nd.load(f"{outcome.staged('checkpoint')[-1].path}/parameters.params")


def distance(ours, theirs):
    """Relative L2 distance over all parameters."""
    assert list(ours) == list(theirs)
    a, b = (np.concatenate([p[name].asnumpy().ravel().astype(np.float64) for name in ours]) for p in (ours, theirs))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


class Beyond:
    """A condition to stop at: a worker has gone further than `step`, and the checkpoint of step `at` is staged.

    The second does not follow from the first: a checkpoint is written beside the training.
    """

    def __init__(self, step, at):
        self.step, self.at = step, at
        self.passed = self.staged = False

    def __call__(self, rank, event):
        self.passed |= isinstance(event, events.Beat) and event.step > self.step
        self.staged |= isinstance(event, events.Staged) and (event.kind, event.step) == ("checkpoint", self.at)
        return self.passed and self.staged


def plain_loop(spec, build, optimizer, epochs):
    """Train with nothing but Gluon and its stock Trainer, on the batches of the plan."""
    networks.seed_all(spec.training.seed)
    net = build()
    net.initialize(mx.init.Xavier())
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = None
    reader = Reader(spec.training_data, spec.features, spec.labels, 0, 1)
    for batch in reader.all_batches(range(epochs)):
        rows = slice(0, batch.real_rows)
        with autograd.record():
            inputs, labels = mx.nd.array(batch.inputs[0][rows]), mx.nd.array(batch.labels[0][rows])
            loss = loss_of(net(inputs), labels)
        loss.backward()
        trainer = trainer or gluon.Trainer(net.collect_params(), optimizer.name, dict(optimizer.options))
        trainer.step(batch.real_rows)
    return {name: p.data() for name, p in net._collect_params_with_prefix().items()}


@pytest.mark.parametrize(
    ("name", "optimizer", "bound"), [("lenet", SGD, 1e-6), ("mlp", SGD, 1e-6), ("lenet", ADAM, 1e-4)]
)
def test_any_number_of_workers_trains_what_one_machine_trains(tmp_path, name, optimizer, bound):
    spec = make_spec(
        tmp_path, counts=(90, 0, 93, 47), batch_size=24, network=name, optimizer=optimizer, epochs=4, every_epochs=99
    )
    assert spec.training_data.plan.steps * 4 == 40
    plain = plain_loop(spec, getattr(role_jobs, name), optimizer, epochs=4)
    outcomes = {size: run_group(spec, size) for size in (1, 2, 4)}
    distances = {size: distance(final(outcome), plain) for size, outcome in outcomes.items()}
    assert max(distances.values()) < bound, distances
    losses = [[e.training["loss"] for e in outcome.of(events.EpochEnd)] for outcome in outcomes.values()]
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, rtol=1e-5)
    for size, outcome in outcomes.items():
        (started,) = outcome.of(events.Started)
        assert (started.step, started.parameters) == (0, sum(p.size for p in plain.values()))
        assert len({outcome.of(events.Done, rank)[0].digest for rank in range(size)}) == 1
        assert sum(outcome.of(events.Beat, rank)[-1].rows for rank in range(size)) <= 4 * 230
        assert all(e.rows == 230 for rank in range(size) for e in outcome.of(events.EpochEnd, rank))
        assert outcome.others == [0, 0]


def test_checkpoints_of_a_network_with_batch_norm_are_the_same_bytes_in_every_run(tmp_path):
    """Its backward pass changes the running statistics unknown to MXNet's engine; a copy must not fall in between.

    On a busy machine a copy taken while the step was still out differed in half of the runs.
    """
    spec = make_spec(
        tmp_path,
        counts=(90, 110, 57),
        batch_size=25,
        network="with_batch_norm",
        optimizer=ADAM,
        epochs=3,
        fraction=0.2,
        every_steps=7,
    )
    specs = [replace(spec, staging=str(tmp_path / f"run{number}/staging")) for number in range(5)]
    with ThreadPoolExecutor(len(specs)) as at_once:  # which keeps the machine busy
        runs = list(at_once.map(lambda spec: run_group(spec, 1), specs))
    files = {tuple((s.step, s.files) for s in run.staged("checkpoint")) for run in runs}
    assert len(files) == 1
    assert len(runs[0].staged("checkpoint")) >= 4


@pytest.mark.parametrize("size", [1, 2])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, size):
    spec = make_spec(
        tmp_path,
        counts=(90, 110, 57),
        batch_size=25,
        network="with_batch_norm",
        optimizer=ADAM,
        schedule=Component("factor", {"step": 5, "factor": 0.8}),
        epochs=3,
        fraction=0.2,
        every_steps=7,
        every_epochs=2,
        metrics=["accuracy", {"name": "f1", "average": "macro"}, {"name": "confusion", "class": 3}, "log_loss",
                 {"name": "auc", "class": 3}],
    )  # fmt: skip
    whole = run_group(spec, size)
    assert whole.returncodes == [0] * size, whole.logs
    # one kill in the middle of an epoch, one after its end
    steps = [staged.step for staged in whole.staged("checkpoint")]
    within = next(s.step for s in whole.staged("checkpoint") if s.meta["step_in_epoch"] and s.epoch == 1)
    after = next(s.step for s in whole.staged("checkpoint") if not s.meta["step_in_epoch"] and s.epoch == 2)
    for at in (within, after):
        killed = run_group(spec, size, stop=Beyond(at + 1, at))
        assert killed.returncodes == [-9] * size
        assert not killed.of(events.Done)
        resumed = run_group(replace(spec, restore=killed.restore(at)), size)
        assert resumed.of(events.Started)[0].step == at
        assert resumed.of(events.Done)[0].digest == whole.of(events.Done)[0].digest
        assert [s.step for s in resumed.staged("checkpoint")] == [step for step in steps if step > at]
        expected = {(s.kind, s.step, s.kind != "checkpoint" or s.files) for s in whole.of(events.Staged) if s.step > at}
        found = {(s.kind, s.step, s.kind != "checkpoint" or s.files) for s in resumed.of(events.Staged)}
        assert found == expected, "every file of every later checkpoint has the same bytes"
        assert [(e.epoch, e.training, e.validation) for e in resumed.of(events.EpochEnd)] == [
            (e.epoch, e.training, e.validation) for e in whole.of(events.EpochEnd) if e.step > at
        ]


def test_a_finished_job_has_nothing_left_to_train(tmp_path):
    spec = make_spec(tmp_path, epochs=1, every_epochs=1)
    whole = run_group(spec, 1)
    again = run_group(replace(spec, restore=whole.restore(whole.of(events.Done)[0].step)), 1)
    assert again.of(events.Done)[0].digest == whole.of(events.Done)[0].digest
    assert not again.of(events.EpochEnd) and not again.staged("checkpoint")
    assert len(again.staged("model")) == 1


def test_padding_weighs_nothing_even_where_zeros_would_be_infinite(tmp_path):
    def run(size):
        spec = make_spec(
            tmp_path / str(size),
            counts=(31, 30),
            batch_size=5,
            network="logarithm",
            loss=Component("log", function=Function("log", path="role_jobs:log_loss")),
            optimizer=SGD,
            metrics=(),
            epochs=1,
            every_epochs=1,
        )
        return final(run_group(spec, size))

    one, two = run(1), run(2)
    assert all(np.isfinite(value.asnumpy()).all() for value in two.values())
    assert distance(two, one) < 1e-6


def test_random_operators_draw_by_step_and_rank(tmp_path):
    spec = make_spec(tmp_path, network="with_dropout", epochs=2, every_epochs=9)
    first, second = run_group(spec, 2), run_group(spec, 2)
    assert first.of(events.Done)[0].digest == second.of(events.Done)[0].digest
    masks = set()
    for step in range(2):
        for rank in range(2):
            networks.seed_step(7, step, rank)
            with autograd.train_mode():
                masks.add(mx.nd.Dropout(mx.nd.ones((64,)), p=0.5).asnumpy().tobytes())
    assert len(masks) == 4


def test_checkpoints_wait_for_the_commit_of_the_one_before(tmp_path):
    spec = make_spec(tmp_path, epochs=3, every_steps=4)

    def waiting(rank, event):
        return isinstance(event, events.Beat) and event.doing.startswith("waiting for the commit")

    outcome = run_group(spec, 2, stop=waiting, commit=lambda staged: False)
    assert [staged.step for staged in outcome.staged("checkpoint")] == [4]
    assert outcome.of(events.Beat)[-1].doing == "waiting for the commit of a checkpoint"


def test_the_best_epoch_is_staged_when_it_comes(tmp_path):
    spec = make_spec(tmp_path, epochs=5, fraction=0.25, every_epochs=1, counts=(150, 150))
    outcome = run_group(spec, 2)
    values, best = [e.validation["accuracy"] for e in outcome.of(events.EpochEnd)], []
    for epoch, value in enumerate(values):
        if value > max(values[:epoch], default=-1.0):
            best.append(epoch)
    assert [staged.epoch for staged in outcome.staged("best")] == best
    assert values[-1] > 0.8
    seen = [e for e in outcome.of(events.Staged) if e.kind in ("best", "checkpoint") and e.epoch == 0]
    assert [staged.kind for staged in seen] == ["best"], "before the checkpoint that remembers it"


def hits_of_a_team():
    def hits(labels, outputs):
        return (outputs.argmax(1) == labels).astype("float32")

    return hits


def by_path(folder):
    """A metric in a package: its name has dots."""
    package = folder / "team"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "metrics.py").write_text("def f1(labels, outputs):\n    return outputs.argmax(1) == labels\n")
    return "team.metrics:f1"


@pytest.mark.parametrize(
    ("metric", "best_by", "highest"),
    [
        ("by path", {"direction": "max"}, True),
        (hits_of_a_team(), {"direction": "max"}, True),
        ("role_jobs:wrong", {"direction": "min"}, False),
        ("mxnet.metric:CrossEntropy", None, False),
        ("accuracy", "loss", False),
    ],
    ids=["package", "nested", "less", "mxnet", "loss"],
)
def test_any_metric_names_the_best_epoch(tmp_path, metric, best_by, highest):
    metric = by_path(tmp_path) if metric == "by path" else metric
    spec = make_spec(
        tmp_path, epochs=4, fraction=0.25, counts=(150,), network="probabilities", metrics=[metric], best_by=best_by
    )
    outcome = run_group(spec, 1, path=tmp_path)
    name = spec.training.best_by.metric
    values, best = [e.validation[name] for e in outcome.of(events.EpochEnd)], []
    for epoch, value in enumerate(values):
        if all(value > before if highest else value < before for before in values[:epoch]):
            best.append(epoch)
    assert len(values) == 4 and [staged.epoch for staged in outcome.staged("best")] == best, values


def test_validation_counts_every_row_once_on_any_number_of_workers(tmp_path):
    def validated(size):
        spec = make_spec(tmp_path / str(size), epochs=1, fraction=0.3, counts=(50, 0, 40))
        (end,) = run_group(spec, size).of(events.EpochEnd)
        return end.validation

    one, three = validated(1), validated(3)
    assert three["accuracy"] == one["accuracy"]
    assert three["loss"] == pytest.approx(one["loss"], rel=1e-5)


def test_a_network_used_before_training_can_be_trained(tmp_path):
    spec = make_spec(tmp_path, network="pretrained", epochs=1, counts=(48,))
    outcome = run_group(spec, 2)
    assert outcome.returncodes == [0, 0], outcome.logs


def failing(tmp_path, size=1, **changes):
    outcome = run_group(make_spec(tmp_path, **changes), size)
    raised = [event for rank in range(size) for event in outcome.of(events.Raised, rank)]
    return raised[0], outcome


def test_a_network_function_that_raises_shows_its_own_traceback(tmp_path):
    raised, outcome = failing(tmp_path, network="raising")
    assert (raised.who, raised.type, raised.message, raised.step) == ("training", "KeyError", "'no such layer'", None)
    assert "in raising" in raised.traceback and "mxspark/mx" not in raised.traceback
    assert outcome.returncodes == [3]


def test_one_rank_that_raises_ends_at_once_while_the_others_still_wait(tmp_path):
    raised, outcome = failing(tmp_path, size=2, network="raises_on_rank_1")
    assert (raised.message, outcome.returncodes) == ("only here", [-9, 3])


def test_leaving_is_no_success(tmp_path):
    raised, outcome = failing(tmp_path, network="leaving")
    assert (raised.who, raised.type, outcome.returncodes) == ("training", "SystemExit", [3])


def test_an_unimportable_network_is_the_users(tmp_path):
    raised, _ = failing(tmp_path, network="nowhere")
    assert raised.who == "training" and "nowhere" in raised.message


def test_code_that_raises_at_a_step_names_the_step(tmp_path):
    raised, _ = failing(tmp_path, network="raises_later")
    assert (raised.who, raised.type, raised.message) == ("training", "ValueError", "the fourth pass")
    assert raised.step in (2, 3)
    assert "in forward" in raised.traceback


def test_an_error_of_the_engine_is_the_networks(tmp_path):
    raised, _ = failing(tmp_path, network="out_of_range")
    assert (raised.who, raised.type) == ("training", "mxnet.base.MXNetError")


def test_a_network_that_is_no_hybrid_block_is_refused(tmp_path):
    raised, _ = failing(tmp_path, network="plain_block")
    assert raised.who == "training" and "HybridSequential in place of Sequential" in raised.message


def test_a_loss_must_give_one_value_a_row(tmp_path):
    loss = Component("mean", function=Function("mean", path="role_jobs:mean_loss"))
    raised, _ = failing(tmp_path, loss=loss)
    assert raised.who == "training"
    assert "the loss gave shape (1,) for 24 rows, where one value a row, shape (24,), is needed" in raised.message


def test_labels_beyond_the_networks_classes_are_refused_before_the_first_step(tmp_path):
    raised, outcome = failing(tmp_path, arrays=digits(257, classes=12))
    assert (raised.who, outcome.returncodes) == ("input", [2])
    assert raised.message == (
        "label 'digit' has values from 0 to 11, but the network role_jobs:mlp has 10 outputs, for classes 0 to 9: give "
        "it 12 outputs, or mend the labels"
    )
    assert not outcome.of(events.Started)


def test_labels_that_are_counted_from_1_are_told_so(tmp_path):
    arrays = digits(257)
    arrays["digit"] = arrays["digit"] + 1
    raised, _ = failing(tmp_path, arrays=arrays)
    assert raised.message.endswith(
        "for classes 0 to 9: the classes are counted from 1: subtract 1, df.withColumn('digit', df['digit'] - 1); or, "
        "if 0 is a class that no row has, give it 11 outputs, or mend the labels"
    )


def test_negative_labels_are_refused(tmp_path):
    arrays = digits(257)
    arrays["digit"][100] = -1
    raised, _ = failing(tmp_path, arrays=arrays)
    assert "has values from -1 to 9" in raised.message


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    spec = make_spec(tmp_path / "a", epochs=1, every_epochs=1)
    restore = run_group(spec, 1).restore(11)
    other = replace(make_spec(tmp_path / "b", network="with_dropout"), restore=restore)
    (raised,) = run_group(other, 1).of(events.Raised)
    assert raised.who == "input" and "the network is not the one of the checkpoint" in raised.message


def test_a_resumed_job_may_ask_for_other_metrics(tmp_path):
    spec = make_spec(tmp_path / "a", epochs=1, every_steps=4, fraction=0.2)
    restore = run_group(spec, 1).restore(4)
    other = make_spec(tmp_path / "b", epochs=1, every_steps=4, fraction=0.2, metrics=("cross_entropy", "accuracy"))
    outcome = run_group(replace(other, restore=restore), 1)
    (end,) = outcome.of(events.EpochEnd)
    assert set(end.training) == {"loss", "cross_entropy", "accuracy"}
    assert end.training["cross_entropy"] == pytest.approx(end.training["loss"], rel=1e-4)
    assert "the metrics are others than before: those of epoch 0 leave out its start" in outcome.logs[0]
