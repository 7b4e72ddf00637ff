"""The tables of names: what the driver accepts and what it says when it does not."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mxspark.job import catalog, metric
from mxspark.job.spec import Component, Function

OPTIONS = [
    (kind, name, key)
    for kind, table in catalog.TABLES.items()
    for name, known in table.items()
    for key in known.options
]


def right(option: catalog.Option) -> Any:
    """Return a value in the middle of what an option takes."""
    if option.choices:
        return option.choices[-1]
    if option.kind == "number":
        return 0.5
    return {"integer": 30 if option.required else 3, "boolean": True, "integers": [2, 5]}[option.kind]


def needed(kind: str, name: str) -> dict[str, Any]:
    """Return the options a component cannot do without."""
    return {key: right(option) for key, option in catalog.TABLES[kind][name].options.items() if option.required}


def test_importing_loads_neither_mxnet_nor_numpy() -> None:
    import subprocess

    code = "import sys, mxspark.job.catalog; print([m for m in ('mxnet', 'numpy', 'pyspark') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in catalog.TABLES.items() for name in table])
def test_every_name_passes_with_what_it_needs_and_misses_it_without(kind: str, name: str) -> None:
    assert catalog.check(kind, name, needed(kind, name)) == []
    missing = [f"needs the option {key!r}" for key in needed(kind, name)]
    found = catalog.check(kind, name, {})
    assert len(found) == len(missing) and all(text in line for text, line in zip(missing, found))


@pytest.mark.parametrize(("kind", "name", "key"), OPTIONS)
def test_every_option_takes_a_right_value_and_refuses_a_wrong_one(kind: str, name: str, key: str) -> None:
    option = catalog.TABLES[kind][name].options[key]
    options = {**needed(kind, name), key: right(option)}
    extra = {"centered": True} if key == "gamma2" else {}
    assert catalog.check(kind, name, {**options, **extra}) == []
    wrongs: list[Any] = ["nonsense", None, float("nan"), [3, 2], {}]
    for wrong in wrongs:
        lines = catalog.check(kind, name, {**options, **extra, key: wrong})
        about = [line for line in lines if f" {key} is" in line]
        assert len(about) == 1, f"one line on one wrong value, of {lines}"
        assert repr(wrong) in about[0] and option.wanted in about[0]


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("optimizer", "Adam", "adam"),
        ("optimizer", "adan", "adam"),
        ("optimizer", "momentum_sgd", None),
        ("loss", "SoftmaxCrossEntropyLoss", "softmax_cross_entropy"),
        ("loss", "softmax-cross-entropy", "softmax_cross_entropy"),
        ("loss", "cross_entropy", "softmax_cross_entropy"),
        ("schedule", "CosineScheduler", "cosine"),
        ("schedule", "multi_factor", "multifactor"),
        ("initializer", "MSRAPrelu", "msra_prelu"),
        ("metric", "acuracy", "accuracy"),
        ("metric", "topk_accuracy", "top_k_accuracy"),
        ("metric", "zzz", None),
    ],
)
def test_a_misspelt_name_is_told_what_was_meant(kind: str, given: str, meant: str) -> None:
    (line,) = catalog.check(kind, given, {})
    assert line.startswith(f"{kind} {given!r} is not known: ")
    assert f"did you mean {meant!r}?" in line if meant else "use one of" in line


@pytest.mark.parametrize(
    ("kind", "name", "options", "line"),
    [
        ("optimizer", "sgd", {"momentm": 0.9}, "optimizer sgd has no option 'momentm': did you mean 'momentum'?"),
        (
            "optimizer",
            "sgd",
            {"lr_scheduler": "x"},
            "optimizer sgd has no option 'lr_scheduler': use training.schedule",
        ),
        ("optimizer", "sgd", {"momentum": 1.5}, "optimizer sgd: momentum is 1.5 and must be a number from 0 to 1 (not"),
        ("optimizer", "adam", {"learning_rate": 0}, "adam: learning_rate is 0 and must be a number above 0"),
        ("optimizer", "adam", {"learning_rate": True}, "adam: learning_rate is True and must be a number above 0"),
        ("optimizer", "adadelta", {"learning_rate": 1.0}, "its step does not depend on one; leave it out"),
        ("optimizer", "rmsprop", {"gamma2": 0.5}, "gamma2 is only used with centered: true"),
        ("optimizer", "adamw", {}, "use adam with wd"),
        ("loss", "triplet", {}, "it takes three arrays; give a function of your own"),
        ("metric", "roc_auc", {}, "metric 'roc_auc' is not known: use auc"),
        ("metric", "f1", {"average": "macro", "class": 1}, "exclude each other; leave one, or make two metrics of it"),
        (
            "metric",
            "accuracy",
            {"axis": 0},
            "axis is 0 and must be a whole number other than 0, which is the axis of the",
        ),
        (
            "loss",
            "kl_div",
            {"axis": 0},
            "axis is 0 and must be a whole number other than 0, which is the axis of the rows",
        ),
        ("schedule", "multifactor", {"step": [5, 3]}, "must be an increasing list of whole numbers of at least 1"),
        ("schedule", "poly", {"max_update": 5, "warmup_steps": 5}, "warmup_steps is 5 and must be below max_update"),
        ("schedule", "factor", {"step": 3, "base_lr": 1}, "a schedule starts from the optimizer's learning_rate"),
        ("initializer", "zeros", {"value": 1}, "initializer zeros has no option 'value': it takes none"),
    ],
)
def test_problems_name_what_was_seen_and_the_way_out(kind: str, name: str, options: dict[str, Any], line: str) -> None:
    (found,) = catalog.check(kind, name, options)
    assert line in found


def test_every_problem_is_listed_at_once() -> None:
    assert len(catalog.check("optimizer", "sgd", {"momentm": 1, "wd": -1, "learning_rate": "fast"})) == 3


def test_which_way_a_metric_is_better() -> None:
    mine, theirs = (Component(name, function=Function(name)) for name in ("team.metrics:F1", "mxnet.metric:RMSE"))
    metrics = [Component("accuracy"), Component("rmse"), Component("accuracy"), mine, theirs]
    assert metric.directions(metrics) == {
        "loss": "min",
        "accuracy": "max",
        "rmse": "min",
        "accuracy_2": "max",
        "mxnet.metric:RMSE": "min",
    }


def test_a_metric_of_several_values_has_a_name_and_a_direction_for_each() -> None:
    metrics = [Component("confusion"), Component("f1"), Component("confusion", {"class": 2})]
    names = [f"confusion{number}_{part}" for number in ("", "_2") for part in ("tp", "fp", "fn", "tn")]
    assert metric.value_names(metrics) == [*names[:4], "f1", *names[4:]]
    known = metric.directions(metrics)
    assert set(known) == {"loss", "f1", *names} and (known["confusion_tp"], known["confusion_2_fn"]) == ("max", "min")
    assert metric.default_best(metrics) == "f1" and metric.default_best(metrics[:1]) == "loss"
