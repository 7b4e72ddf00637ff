"""What may be wrong with a job: each flaw changes one that trains, and says what its refusal must name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Optional

from hypothesis import strategies as st

from fuzz.cases import Case

Make = Callable[[Any, Case], Case]


@dataclass(frozen=True)
class Flaw:
    """One mistake: whether a case can have it, how it gets it, and the only `cases.LABELS` it may have."""

    name: str
    fits: Callable[[Case], bool]
    make: Make
    labels: Optional[str] = None


FLAWS: list[Flaw] = []
WIDE = ("smallint", "int", "bigint")


def flaw(fits: Callable[[Case], bool], labels: Optional[str] = None) -> Callable[[Make], Make]:
    """Register a flaw under the name of its function."""

    def register(make: Make) -> Make:
        FLAWS.append(Flaw(make.__name__, fits, make, labels))
        return make

    return register


def inner(kind: str) -> str:
    return kind[len("array<") : -1] if kind.startswith("array<") else kind


def put(draw: Any, case: Case, column: str, value: Any) -> Case:
    """Put a value into some row of a column; into the validation rows where there are any, sometimes."""
    rows = case.validation if case.validation is not None and draw(st.booleans()) else case.rows
    cells = rows[column]
    place = draw(st.integers(0, len(cells) - 1))
    if case.kinds[column].startswith("array") and value is not None:
        cell = list(cells[place])
        cell[draw(st.integers(0, len(cell) - 1))] = value
        cells[place] = cell
    else:
        cells[place] = value
    return replace(case, names=(column, *_owners(case, column)))


def _owners(case: Case, column: str) -> tuple[str, ...]:
    """Return the arrays that a column is part of."""
    features = case.job["data"]["features"].items()
    return tuple(name for name, options in features if column in options.get("columns", ()))


def features(case: Case, role: str) -> dict[str, dict[str, Any]]:
    """Return the features of a role, with their options."""
    declared = case.job["data"]["features"].items()
    return {name: options for (name, options), (is_role, _) in zip(declared, case.inputs) if is_role == role}


def number_columns(case: Case, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the columns that features of numbers are made of, where Spark's type is one of some."""
    return [
        (column, options)
        for name, options in features(case, "numbers").items()
        for column in options.get("columns", [name])
        if inner(case.kinds[column]) in kinds
    ]


def is_default(options: dict[str, Any]) -> bool:
    return "dtype" not in options and "scale" not in options


def loss_of(case: Case) -> dict[str, Any]:
    return dict(case.job["training"]["loss"])


def is_sparse(case: Case) -> bool:
    return loss_of(case) == {"name": "softmax_cross_entropy"}


def is_float(case: Case, column: str) -> bool:
    return inner(case.kinds[column]) in ("float", "double")


@flaw(lambda case: True)
def null(draw: Any, case: Case) -> Case:
    return put(draw, case, draw(st.sampled_from(sorted(case.kinds))), None)


@flaw(lambda case: any(kind.startswith("array") for kind in case.kinds.values()))
def null_inside(draw: Any, case: Case) -> Case:
    column = draw(st.sampled_from(sorted(name for name, kind in case.kinds.items() if kind.startswith("array"))))
    place = draw(st.integers(0, len(case.rows[column]) - 1))
    case.rows[column][place] = [None, *case.rows[column][place][1:]]
    return replace(case, names=(column,))


@flaw(lambda case: any(is_float(case, column) for column in case.kinds))
def not_finite(draw: Any, case: Case) -> Case:
    column = draw(st.sampled_from(sorted(column for column in case.kinds if is_float(case, column))))
    return put(draw, case, column, draw(st.sampled_from([math.nan, math.inf, -math.inf])))


@flaw(lambda case: any(kind.startswith("array") for kind in case.kinds.values()))
def ragged(draw: Any, case: Case) -> Case:
    column = draw(st.sampled_from(sorted(name for name, kind in case.kinds.items() if kind.startswith("array"))))
    cells = case.rows[column]
    place = draw(st.integers(0, len(cells) - 1))
    longer = [[*cells[place], cells[place][0]]] if len(cells) > 1 else []  # the only row is as long as it is
    cells[place] = draw(st.sampled_from([*longer, []]))
    return replace(case, names=(column,))


@flaw(lambda case: bool(number_columns(case, "double")))
def too_large(draw: Any, case: Case) -> Case:
    column, options = draw(st.sampled_from(number_columns(case, "double")))
    assert options.get("dtype") != "int32"
    if options.get("dtype") == "float64":
        return put(draw, case, column, math.inf)
    return put(draw, case, column, 1e300)


@flaw(lambda case: any(is_default(options) for _, options in number_columns(case, "int", "bigint")))
def large_whole_number(draw: Any, case: Case) -> Case:
    columns = [column for column, options in number_columns(case, "int", "bigint") if is_default(options)]
    return put(draw, case, draw(st.sampled_from(columns)), draw(st.sampled_from([2**24 + 1, -(2**24) - 1, 2**30 + 1])))


@flaw(lambda case: any(options.get("dtype") == "int8" for _, options in number_columns(case, *WIDE)))
def beyond_the_dtype(draw: Any, case: Case) -> Case:
    columns = [column for column, options in number_columns(case, *WIDE) if options.get("dtype") == "int8"]
    return put(draw, case, draw(st.sampled_from(columns)), draw(st.sampled_from([128, -129, 300])))


@flaw(lambda case: bool(features(case, "ids")))
def id_outside(draw: Any, case: Case) -> Case:
    name = draw(st.sampled_from(sorted(features(case, "ids"))))
    table = dict(zip(case.job["data"]["features"], case.inputs))[name][1]
    value = draw(st.sampled_from([table, table + 7, -1, -5]))
    return put(draw, case, name, float(value) if is_float(case, name) else value)


@flaw(lambda case: any(is_float(case, name) for name in features(case, "ids")))
def id_with_fraction(draw: Any, case: Case) -> Case:
    return put(draw, case, draw(st.sampled_from([name for name in features(case, "ids") if is_float(case, name)])), 0.5)


@flaw(is_sparse, "classes")
def class_outside(draw: Any, case: Case) -> Case:
    value = draw(st.sampled_from([case.outputs, case.outputs + 5, -1]))
    return put(draw, case, "y", float(value) if is_float(case, "y") else value)


@flaw(lambda case: is_float(case, "y"), "classes")
def class_with_fraction(draw: Any, case: Case) -> Case:
    return put(draw, case, "y", draw(st.sampled_from([0.5, 0.05, 0.95])))


@flaw(lambda case: "hinge" in loss_of(case)["name"] or loss_of(case) == {"name": "logistic"}, "sides")
def unsigned(draw: Any, case: Case) -> Case:
    return put(draw, case, "y", 0.0 if is_float(case, "y") else 0)


@flaw(lambda case: "sigmoid" in loss_of(case)["name"] and case.kinds["y"] != "boolean", "sides")
def no_probability(draw: Any, case: Case) -> Case:
    value = draw(st.sampled_from([-1, 2]))
    return put(draw, case, "y", float(value) if is_float(case, "y") else value)


@flaw(lambda case: loss_of(case).get("label_format") == "binary" and case.kinds["y"] != "boolean", "sides")
def signed(draw: Any, case: Case) -> Case:
    return put(draw, case, "y", -1.0 if is_float(case, "y") else -1)


@flaw(lambda case: True, "shares")
def no_distribution(draw: Any, case: Case) -> Case:
    place = draw(st.integers(0, len(case.rows["y"]) - 1))
    case.rows["y"][place] = draw(st.sampled_from([[0.0], [1.0], [0.9]])) * case.outputs
    return replace(case, names=("y",))


@flaw(lambda case: case.job["data"]["weight"] is not None)
def negative_weight(draw: Any, case: Case) -> Case:
    return put(draw, case, "w", -1.0 if is_float(case, "w") else -1)


@flaw(lambda case: case.job["data"]["weight"] is not None)
def no_row_counts(draw: Any, case: Case) -> Case:
    case.rows["w"] = [0.0 if is_float(case, "w") else 0] * len(case.rows["w"])
    return replace(case, names=("w",))


@flaw(lambda case: True)
def no_such_column(draw: Any, case: Case) -> Case:
    name = draw(st.sampled_from(sorted(case.kinds)))
    if case.source == "tuples":  # they have no names, and one entry too few
        return _drop_cell(case)
    for rows in filter(None, (case.rows, case.validation)):
        rows["other"] = rows.pop(name)
    kinds = {("other" if column == name else column): kind for column, kind in case.kinds.items()}
    return replace(case, kinds=kinds, names=(name,))


def _drop_cell(case: Case) -> Case:
    last = list(case.rows)[-1]
    case.rows.pop(last)
    kinds = {name: kind for name, kind in case.kinds.items() if name != last}
    count = len(case.kinds)
    return replace(case, kinds=kinds, validation=None, names=(f"{count} columns are declared",))


@flaw(lambda case: True)
def text(draw: Any, case: Case) -> Case:
    name = draw(st.sampled_from(sorted(case.kinds)))
    for rows in filter(None, (case.rows, case.validation)):
        rows[name] = ["one" for _ in rows[name]]
    return replace(case, kinds={**case.kinds, name: "string"}, names=(name,))


def _option(section: str, key: str, values: list[Any], name: str) -> None:
    """Register the flaw of a value that a key cannot have."""

    def make(draw: Any, case: Case) -> Case:
        case.job[section][key] = draw(st.sampled_from(values))
        return replace(case, names=(key, name))

    FLAWS.append(Flaw(f"{section}.{key}", lambda case: True, make))


_option("training", "batch_size", [0, -3, "many", 2.5, None], "batch_size")
_option("training", "epochs", [0, -1, 1.5], "epochs")
_option("training", "loss", ["l3", {"name": "l2", "wieght": 2.0}, 7, None], "wieght")
_option("training", "optimizer", ["sdg", {"name": "sgd", "momentun": 0.9}, {"name": "adam", "beta1": 2}], "beta1")
_option("training", "schedule", [{"name": "poly", "max_update": 0}, {"name": "factor"}, "linear"], "step")
_option("training", "metrics", [["acuracy"], "accuracy", [{"name": "top_k_accuracy"}]], "k")
_option("training", "best_by", ["f1", {"metric": "loss", "direction": "max"}], "loss")
_option("training", "seed", [-1, 2**31], "seed")
_option("training", "epoch", [3], "epochs")
_option("data", "shuffle", ["yes", 3], "shuffle")
_option("data", "block_rows", [0], "block_rows")
_option("data", "validation", [{"fraction": 1.0}, {"fraction": -0.1}, {"fracton": 0.1}], "fraction")
_option("cluster", "num_workers", [0, 100], "batch_size")


@flaw(lambda case: True)
def declared_wrong(draw: Any, case: Case) -> Case:
    name = draw(st.sampled_from(sorted(case.job["data"]["features"])))
    options = case.job["data"]["features"][name]
    wrong = {"dtype": "float46", "scale": 0.0, "shape": [0], "shpe": [3], "columns": []}
    key = draw(st.sampled_from(sorted(wrong)))
    options[key] = wrong[key]
    return replace(case, names=(name, key))


@flaw(lambda case: any(case.kinds.get(name, "").startswith("array") for name in case.job["data"]["features"]))
def declared_in_another_size(draw: Any, case: Case) -> Case:
    declared = case.job["data"]["features"]
    name = draw(st.sampled_from([name for name in declared if case.kinds.get(name, "").startswith("array")]))
    declared[name]["shape"] = [len(case.rows[name][0]) + draw(st.integers(1, 3))]
    return replace(case, names=(name,))


@flaw(lambda case: True)
def a_second_label(draw: Any, case: Case) -> Case:
    case.job["data"]["label"]["second"] = {}
    return replace(case, names=("second",))


@flaw(lambda case: "hinge" in loss_of(case)["name"], "sides")
def a_metric_of_other_labels(draw: Any, case: Case) -> Case:
    case.job["training"]["metrics"] = ["accuracy"]
    case.rows["y"][0] = -1.0 if is_float(case, "y") else -1  # with 1 alone it could be meant
    return replace(case, names=("accuracy",))


@flaw(lambda case: case.outputs == 1 and is_float(case, "y"), "regression")
def a_metric_of_classes(draw: Any, case: Case) -> Case:
    case.job["training"]["metrics"] = [draw(st.sampled_from(["accuracy", "cross_entropy"]))]
    return replace(case, names=tuple(case.job["training"]["metrics"]))


@flaw(lambda case: True)
def no_rows(draw: Any, case: Case) -> Case:
    rows: dict[str, list[Any]] = {name: [] for name in case.rows}
    return replace(case, rows=rows, counts=(0,) * len(case.counts), names=("no rows", "no row"))
