"""A job that is run again: the same numbers where nothing is left, and no other job in its place without a word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from spark.jobs import digits, mlp, parameters, train

import mxspark
from mxspark.errors import Diverged, InputError, JobDirError
from mxspark.job.spec import Function, label_of

pytestmark = pytest.mark.usefixtures("nothing_left")
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}


def with_tanh() -> Function:
    """Return a network of the name and with the parameters of `mlp`, that computes something else."""

    def network() -> Any:
        from mxnet import gluon

        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(32, activation="tanh"), gluon.nn.Dense(10))
        return net

    return replace(Function.ship(network), label=label_of(mlp))


def with_factors() -> Function:
    """Return the network of `mlp` with parameters that learn otherwise."""

    def network() -> Any:
        net = mlp()
        net[0].weight.lr_mult = 0.5
        net[1].bias.grad_req = "null"
        net[1].weight.init = "ones"
        return net

    return replace(Function.ship(network), label=label_of(mlp))


def right(labels: Any, outputs: Any) -> Any:
    """Return for each row whether its class was found."""
    return outputs.argmax(1) == labels


def numbers(result: mxspark.Result) -> Any:
    """Return all of a result that is the same however often a finished job is run."""
    plain = result.to_dict()
    keys = ("status", "epochs", "steps", "rows_per_epoch", "history", "metrics", "rows_per_s", "checkpoint")
    return {key: plain[key] for key in (*keys, "model", "best_model")}


def test_a_finished_job_gives_the_same_numbers_and_says_what_comes_too_late(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "job"
    first = train(folder)
    before = parameters(first, tmp_path / "first")["sha256"]
    again = train(folder, report={"progress": "lines"})
    said = capsys.readouterr().err
    assert again.message.startswith("nothing left to train") and again.message in said
    assert "mxspark: comparing the network\n" in said and again.seconds["compare"] > 0
    assert numbers(again) == numbers(first) and again.metrics["validation"]["last"]["accuracy"] > 0.75
    assert again.events is None and not list((folder / "runs" / again.run_id).glob("events*"))
    assert not again.warnings and parameters(again, tmp_path / "again")["sha256"] == before

    late = train(folder, training={"optimizer": {**SGD, "learning_rate": 0.01}})
    change = "training.optimizer.learning_rate: 0.1 -> 0.01"
    assert change in late.message and any(change in line for line in late.warnings)
    assert numbers(late) == numbers(first)
    more = train(folder, training={"optimizer": {**SGD, "learning_rate": 0.01}, "epochs": 3})
    assert (more.epochs, len(more.history)) == (3, 1) and any(change in line for line in more.warnings)
    # of the run that did the last epoch, however often, and of that epoch alone where that run has left no result
    for _ in range(2):
        assert numbers(train(folder, training={"optimizer": {**SGD, "learning_rate": 0.01}, "epochs": 3})) == numbers(
            more
        )
    (folder / "runs" / more.run_id / "result.json").unlink()
    killed = train(folder, training={"optimizer": {**SGD, "learning_rate": 0.01}, "epochs": 3})
    assert killed.history == more.history and killed.metrics == more.metrics


def scored(share: float) -> Any:
    """Return a metric of one name, whatever the share."""

    def score(labels: Any, outputs: Any) -> Any:
        return (outputs.argmax(1) == labels) * share

    return score


def of_best_model(folder: Path) -> int:
    """Return the epoch that the published best model is of."""
    return int(json.loads((folder / "model-best" / "manifest.json").read_text())["epoch"])


def test_the_best_value_is_that_of_the_best_model_however_often_the_job_is_run(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder, score = tmp_path / "job", scored(1.0)
    worst = {"metrics": [score], "best_by": {"metric": score, "direction": "min"}}  # which is the first epoch
    first = train(folder, training={**worst, "epochs": 1})
    name = label_of(score)
    value = first.history[0].validation[name]
    for _ in range(2):  # goes on, and finds nothing left
        result = train(folder, training={**worst, "epochs": 3})
        assert of_best_model(folder) == 0 and result.metrics["validation"]["best"][name] == value
        assert min(epoch.validation[name] for epoch in result.history) > value
        assert f"(best {value:.4f})" in repr(result) and not result.warnings


def test_a_best_epoch_of_another_measure_does_not_stand_for_ever(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "job"

    def run(share: float, epochs: int) -> mxspark.Result:
        score = scored(share)
        best_by = {"metric": score, "direction": "max"}
        return train(folder, training={"metrics": [score], "best_by": best_by, "epochs": epochs})

    name = label_of(scored(1.0))
    value = run(1.0, 1).history[0].validation[name]
    late = run(0.1, 1)
    assert late.metrics["validation"]["best"][name] == value and not any("best_by" in line for line in late.warnings)
    result = run(0.1, 2)
    assert of_best_model(folder) == 1
    assert result.metrics["validation"]["best"][name] == result.history[0].validation[name] < value
    (line,) = [line for line in result.warnings if "best_by" in line]
    assert f"{name} is measured otherwise than before; the best epoch is sought anew from here on" in line
    assert f"replaces model-best, which is of epoch 0 ({name} {value:.4f})" in line
    assert not any("best_by" in line for line in run(0.1, 3).warnings)


def test_fewer_epochs_than_an_interrupted_job_has_done_are_told(spark: SparkSession, tmp_path: Path) -> None:
    def stop(reported: Any) -> None:
        if type(reported.event).__name__ == "EpochEnd" and reported.event.epoch >= 2:
            raise KeyboardInterrupt

    folder = tmp_path / "job"
    with pytest.raises(KeyboardInterrupt):
        mxspark.train(None, digits(folder, training={"epochs": 9}), on_event=stop)
    result = train(folder, training={"epochs": 1})
    assert result.epochs > 1 and result.steps > 12  # as far as its checkpoint goes
    assert result.message == f"{result.epochs} epochs, {result.steps} steps"
    (line,) = result.warnings
    assert line.startswith("training.epochs is 1, and this job has done more: its checkpoint is of ")
    assert f"{result.epochs} epochs ({result.steps} steps), and so is the model" in line


def test_a_job_without_checkpoints_says_so_and_which_model_it_replaces(spark: SparkSession, tmp_path: Path) -> None:
    folder, without = tmp_path / "job", {"every_epochs": None}
    first = train(folder, checkpoint=without, training={"epochs": 1})
    (line,) = first.warnings
    assert "are null, so that no checkpoint is made" in line and "trains everything anew; set one of them" in line
    assert first.checkpoint is None and not list((folder / "checkpoints").iterdir())
    again = train(folder, checkpoint={**without, "every_steps": 1000}, training={"epochs": 1})
    (line,) = again.warnings
    assert f"holds a model, of step {first.steps}, and no checkpoint to go on from: everything is trained anew" in line
    assert again.checkpoint_step == again.steps, "steps alone keep one at the end"
    assert train(folder, checkpoint=without, training={"epochs": 1}).message.startswith("nothing left to train")


def test_another_network_of_the_same_name_is_refused_whether_or_not_anything_is_left(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    tanh = with_tanh()
    train(folder, training={"epochs": 1})
    for epochs in (1, 2):
        with pytest.raises(
            InputError, match=r"Activation\(act_type=relu\) of 3 and is Activation\(act_type=tanh\) of 3"
        ):
            train(folder, training={"network": tanh, "epochs": epochs})
    with pytest.raises(JobDirError, match=r"training.loss.axis: not set -> -1"):
        train(folder, training={"loss": {"name": "softmax_cross_entropy", "axis": -1}})
    fresh = train(folder, job={"fresh": True}, training={"network": tanh, "epochs": 1, "metrics": [right]})
    assert any("right only you know what is better; set training.best_by" in line for line in fresh.warnings)
    (aside,) = (folder / "_aside").iterdir()
    assert fresh.epochs == 1 and len(fresh.history) == 1
    assert any(f"is set aside as file://{aside}; nothing of it is deleted" in line for line in fresh.warnings)
    assert {path.name for path in aside.iterdir()} >= {"_job.json", "_fixed.json", "checkpoints", "model", "runs"}
    assert train(folder, training={"network": tanh, "epochs": 1, "metrics": [right]}).message.startswith(
        "nothing left to train"
    )


def test_parameters_that_learn_otherwise_are_told_whether_or_not_anything_is_left(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "job"
    train(folder, training={"epochs": 1})
    lines = [
        "the network's 0.weight.lr_mult: not set -> 0.5",
        "the network's 1.weight.init: not set -> ones",
        "the network's 1.bias.grad_req: not set -> null",
    ]
    late = train(folder, training={"network": with_factors(), "epochs": 1})
    assert (
        late.message.startswith("nothing left to train") and [line for line in lines if line in late.message] == lines
    )
    for result in (late, train(folder, training={"network": with_factors(), "epochs": 2})):
        told = [line.partition(", since the checkpoint of step ")[0] for line in result.warnings]
        assert [line for line in told if line.startswith("the network's")] == lines
    assert not train(folder, training={"network": with_factors(), "epochs": 2}).warnings


def interrupted(folder: Path, **training: Any) -> mxspark.Result:
    """Give one command that starts over, and press Ctrl-C as soon as a checkpoint is there."""

    def stop(_reported: Any) -> None:
        if any((folder / "checkpoints").glob("s*")):
            raise KeyboardInterrupt

    job = digits(folder, job={"dir": str(folder), "id": "mine", "fresh": True}, training={"epochs": 9, **training})
    with pytest.raises(KeyboardInterrupt) as caught:
        mxspark.train(None, job, on_event=stop)
    result = caught.value.__dict__["result"]
    assert isinstance(result, mxspark.Result)
    return result


def test_one_command_that_starts_over_goes_on_as_long_as_it_says_the_same(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "job"

    def asides() -> int:
        return len(list((folder / "_aside").glob("*")))

    assert not interrupted(folder).warnings
    (line,) = interrupted(folder).warnings
    assert "an earlier try of mine has started over" in line and line.endswith("; this one goes on from there")
    assert asides() == 0
    slow = {**SGD, "learning_rate": 0.01}
    for place, (training, change) in enumerate(
        [
            ({"optimizer": slow}, "training.optimizer.learning_rate: 0.1 -> 0.01"),
            ({"optimizer": slow, "network": with_tanh()}, "Activation(act_type=tanh) of 3"),
        ]
    ):
        (line,) = interrupted(folder, **training).warnings
        assert "an earlier try of mine had begun another job: " in line and change in line
        assert asides() == place + 1


def test_a_run_that_diverges_is_no_success_and_not_tried_again(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(Diverged) as caught:
        train(
            tmp_path / "job",
            data={"validation": {"fraction": 0.0}},
            training={"optimizer": {"name": "sgd", "learning_rate": 1e30}, "metrics": []},
            checkpoint={"every_epochs": None},
        )
    result = caught.value.result
    assert isinstance(result, mxspark.Result) and result.cause is not None
    assert (result.status, result.cause.kind, result.model, caught.value.exit_code) == ("failed", "diverged", None, 3)
    assert len(result.attempts) == 1
    assert "the loss became" in result.message and "parameter 0.weight" in result.message
    assert "Traceback" not in result.message
