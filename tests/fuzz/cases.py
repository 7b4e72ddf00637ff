"""What the fuzz tests draw: jobs that must train, and the same with one flaw, which must be refused by name."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np
import yaml
from hypothesis import strategies as st

WHOLE = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
Rows = dict[str, list[Any]]


@dataclass(frozen=True)
class Case:
    """One job, its rows, and what must come of it.

    Attributes
    ----------
    kinds : dict of str to str
        Spark's types of the columns.
    rows, validation : dict of str to list
        Values by column; rows of their own for validation, if there are any.
    counts : tuple of int
        Rows of each partition.
    job : dict
        The configuration, but for the network.
    inputs, outputs, hidden, norm
        Of `networks.network`.
    source : str
        ``frame``, or how an RDD's elements look: ``tuples``, ``dicts``.
    stops : int
        After so many steps the job is stopped and goes on from its checkpoint; 0 is never.
    flaw : str or None
        What is wrong with it, and `names`, one of which must be in the refusal; None where it must train.
    """

    kinds: dict[str, str]
    rows: Rows
    counts: tuple[int, ...]
    job: dict[str, Any]
    inputs: tuple[tuple[str, int], ...]
    outputs: int
    hidden: bool
    norm: bool = False
    source: str = "frame"
    stops: int = 0
    validation: Optional[Rows] = None
    flaw: Optional[str] = None
    names: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        return int(self.job["cluster"]["num_workers"])

    @property
    def label(self) -> str:
        return next(iter(self.job["data"]["label"]))

    @property
    def schema(self) -> str:
        """The columns in Spark's own words."""
        return ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in self.kinds.items())

    def by_hand(self) -> str:
        """Return what it takes to run it by hand, in the folder of the tests: network.py, job.yaml, run.py."""
        job = copy.deepcopy(self.job)
        job["training"]["network"] = "network:network"
        arguments = (self.inputs, self.outputs, self.hidden, self.norm)
        return _BY_HAND.format(
            flaw=f"{self.flaw}, to be named: {self.names}; stopped at step {self.stops}",
            network=f"return of(*{arguments!r})()",
            job=yaml.safe_dump(job, sort_keys=False, allow_unicode=True),
            schema=self.schema,
            source=self.source,
            parts=_as_text(self.rows, self.counts),
            validation=_as_text(self.validation, (10**9,)) if self.validation else "None",
        )


_BY_HAND = """
# flaw: {flaw}
# ---- network.py
from fuzz.networks import network as of

def network():
    {network}

# ---- job.yaml
{job}
# ---- run.py
from math import inf, nan
from pyspark.sql import Row, SparkSession
import mxspark

SCHEMA, SOURCE = {schema!r}, {source!r}
PARTITIONS = {parts}
VALIDATION = {validation}

def data(parts):
    rdd = spark.sparkContext.parallelize(parts, len(parts)).flatMap(list)
    names = [field.name for field in spark.createDataFrame([], SCHEMA).schema]
    named = rdd.map(lambda row: Row(**dict(zip(names, row))))
    return {{"tuples": rdd, "dicts": named}}.get(SOURCE) or spark.createDataFrame(rdd, SCHEMA)

spark = SparkSession.builder.master("local[4]").getOrCreate()
print(mxspark.train(data(PARTITIONS), "job.yaml", validation_df=VALIDATION and data(VALIDATION)))
"""


def _as_text(rows: Rows, counts: tuple[int, ...]) -> str:
    every = list(zip(*rows.values()))
    starts = [sum(counts[:place]) for place in range(len(counts))]
    parts = [every[start : start + count] for start, count in zip(starts, counts)]
    return "[\n" + "".join(f"  [{''.join(f'{chr(10)}    {row!r},' for row in part)}],\n" for part in parts) + "]"


@dataclass(frozen=True)
class Label:
    """What a loss is given: how its values are drawn, and how many scores the network has."""

    loss: dict[str, Any]
    kind: str
    outputs: int
    metrics: tuple[Any, ...]


def _regression(draw: Any, rng: Any) -> tuple[Label, Any]:
    name = draw(st.sampled_from(["l2", "l1", "huber"]))
    loss: dict[str, Any] = {"name": name}
    if name == "huber":
        loss["rho"] = draw(st.sampled_from([0.5, 2.0]))
    outputs = draw(st.sampled_from([1, 1, 2]))
    kind = draw(st.sampled_from(["float", "double", "int", "bigint"] if outputs == 1 else ["array<float>"]))
    return Label(loss, kind, outputs, ("mae", "mse", "rmse")), lambda n: _numbers(rng, kind, n, outputs)


def _classes(draw: Any, rng: Any) -> tuple[Label, Any]:
    classes = draw(st.integers(2, 4))
    kind = draw(st.sampled_from(["int", "bigint", "double", "tinyint"]))
    cast = float if kind == "double" else int
    metrics = ("accuracy", "cross_entropy", "perplexity", {"name": "top_k_accuracy", "k": 2})
    label = Label({"name": "softmax_cross_entropy"}, kind, classes, metrics)
    return label, lambda n: [cast(value) for value in rng.integers(0, classes, n)]


def _shares(draw: Any, rng: Any) -> tuple[Label, Any]:
    classes = draw(st.integers(2, 4))
    loss = draw(
        st.sampled_from(
            [{"name": "softmax_cross_entropy", "sparse_label": False}, {"name": "kl_div", "from_logits": False}]
        )
    )
    kind = draw(st.sampled_from(["array<float>", "array<double>"]))
    return Label(loss, kind, classes, ()), lambda n: rng.dirichlet(np.ones(classes), n).round(6).tolist()


def _sides(draw: Any, rng: Any) -> tuple[Label, Any]:
    loss = draw(
        st.sampled_from(
            [
                {"name": "hinge"},
                {"name": "squared_hinge", "margin": 0.5},
                {"name": "logistic"},
                {"name": "logistic", "label_format": "binary"},
                {"name": "sigmoid_binary_cross_entropy"},
            ]
        )
    )
    signed = loss["name"].endswith("hinge") or loss == {"name": "logistic"}
    kind = draw(st.sampled_from(["int", "float", "double", "smallint"] + ([] if signed else ["boolean"])))
    cast = {"boolean": bool, "float": float, "double": float}.get(kind, int)

    def values(n: int) -> list[Any]:
        return [cast(2 * value - 1 if signed else value) for value in rng.integers(0, 2, n)]

    return Label(loss, kind, 1, ("binary_accuracy",)), values


def _numbers(rng: Any, kind: str, n: int, width: int = 1) -> list[Any]:
    inner = kind[len("array<") : -1] if kind.startswith("array") else kind
    if inner in ("float", "double"):
        values = rng.normal(0, 1, (n, width))
        values = values.astype(np.float32).astype(float) if inner == "float" else values
    elif inner == "boolean":
        values = rng.integers(0, 2, (n, width)).astype(bool)
    else:
        values = rng.integers(-4, 5, (n, width))
    return values.tolist() if kind.startswith("array") else values[:, 0].tolist()


OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "wd": 0.001},
    {"name": "sgd", "learning_rate": 0.1, "clip_gradient": 0.05},
    {"name": "nag", "learning_rate": 0.05, "momentum": 0.9},
    {"name": "adam", "learning_rate": 0.01, "wd": 0.01, "epsilon": 1e-4},
    {"name": "adagrad", "learning_rate": 0.05, "eps": 1e-4},
    {"name": "adadelta", "rho": 0.9, "epsilon": 1e-3},
    {"name": "rmsprop", "learning_rate": 0.005, "epsilon": 1e-4},
    {"name": "rmsprop", "learning_rate": 0.005, "centered": True, "epsilon": 1e-2},
    {"name": "nadam", "learning_rate": 0.005, "epsilon": 1e-4},
    {"name": "ftrl", "learning_rate": 0.1},
    {"name": "ftml", "learning_rate": 0.01, "epsilon": 1e-4},
    {"name": "lamb", "learning_rate": 0.01, "epsilon": 1e-4},
    {"name": "lars", "learning_rate": 0.5, "momentum": 0.9},
]
SCHEDULES: list[Optional[dict[str, Any]]] = [
    None,
    None,
    None,
    {"name": "factor", "step": 2, "factor": 0.7},
    {"name": "multifactor", "step": [1, 3], "factor": 0.5, "warmup_steps": 2},
    {"name": "poly", "max_update": 9, "pwr": 2},
    {"name": "poly", "max_update": 4},  # a rate of 0 in the end, by which ftml divides
    {"name": "cosine", "max_update": 8, "final_lr": 0.001, "warmup_steps": 3, "warmup_begin_lr": 0.001},
]


def generator(draw: Any) -> Any:
    """Return a generator for what need not get smaller; of bytes hypothesis prefers none, as of numbers small ones."""
    return np.random.default_rng(list(draw(st.binary(min_size=8, max_size=8))))


class _Drawing:
    """One job on its way: its columns so far, how more of their values are drawn, and its features."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.rng = generator(draw)
        self.kinds: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.features: dict[str, dict[str, Any]] = {}
        self.inputs: list[tuple[str, int]] = []

    def column(self, name: str, kind: str, values: Any) -> None:
        self.kinds[name], self.values[name] = kind, values

    def rows(self, n: int) -> Rows:
        return {name: values(n) for name, values in self.values.items()}

    def numbers(self, name: str) -> None:
        """Add a feature of numbers: a scalar, an array, or several columns as one."""
        draw, rng = self.draw, self.rng
        inner = draw(st.sampled_from(["float", "double", "int", "bigint", "smallint", "tinyint", "boolean"]))
        shape = draw(st.sampled_from(["scalar", "array", "columns"]))
        options = self._options(inner)
        if shape == "columns":
            options["columns"] = [f"{name}{place}" for place in range(draw(st.integers(2, 3)))]
            for column in options["columns"]:
                self.column(column, inner, lambda n: _numbers(rng, inner, n))
        elif shape == "array":
            width = draw(st.integers(1, 4))
            kind = f"array<{inner}>"
            if draw(st.booleans()):
                options["shape"] = [2, 2] if width == 4 else [width]
            self.column(name, kind, lambda n: _numbers(rng, kind, n, width))
        else:
            self.column(name, inner, lambda n: _numbers(rng, inner, n))
        self.features[name] = options
        self.inputs.append(("numbers", 0))

    def _options(self, inner: str) -> dict[str, Any]:
        options: dict[str, Any] = {}
        whole = [] if inner in ("float", "double") else ["int32", "int64", "int8"]
        dtype = self.draw(st.sampled_from([None, None, "float32", "float64", "float16", *whole]))
        if dtype is not None:
            options["dtype"] = dtype
        if dtype is None or dtype.startswith("float"):
            scale = self.draw(st.sampled_from([None, None, 0.5, 0.3, -2.0]))
            if scale is not None:
                options["scale"] = scale
        return options

    def ids(self, name: str) -> None:
        """Add a feature of ids for a table, some of which may be clipped by the network."""
        draw, rng = self.draw, self.rng
        table, role = draw(st.integers(2, 9)), draw(st.sampled_from(["ids", "ids", "ids", "clipped"]))
        kind = draw(st.sampled_from(["int", "bigint", "double", "smallint", "array<int>", "array<double>"]))
        width = draw(st.integers(1, 3))
        cast = float if "double" in kind else int
        low, high = (-2, table + 2) if role == "clipped" else (0, table)

        def values(n: int) -> list[Any]:
            cells = [[cast(value) for value in row] for row in rng.integers(low, high, (n, width))]
            return cells if kind.startswith("array") else [row[0] for row in cells]

        self.column(name, kind, values)
        dtype = draw(st.sampled_from([None, "int32", "int64", "float64"]))
        self.features[name] = {} if dtype is None else {"dtype": dtype}
        self.inputs.append((role, table))


#: Kinds of labels, each with the losses that take them.
LABELS = {"regression": _regression, "classes": _classes, "shares": _shares, "sides": _sides}


@st.composite
def good_cases(draw: Any, workers: tuple[int, ...] = (1, 2), labels: Optional[str] = None) -> Case:
    """Draw a job that must train; `labels` is a key of `LABELS`, or any."""
    made = _Drawing(draw)
    for place in range(draw(st.integers(1, 3))):
        draw(st.sampled_from([made.numbers, made.ids]))(f"x{place}" + draw(st.sampled_from(["", "", " a.b", "é`"])))
    label, values = LABELS[labels or draw(st.sampled_from(sorted(LABELS)))](draw, made.rng)
    made.column("y", label.kind, values)
    weight, class_weights = _weights(draw, made, label)
    counts = tuple(draw(st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any)))
    rows = made.rows(sum(counts))
    validation = draw(st.sampled_from(["none", "fraction", "rows"]))
    num_workers = draw(st.sampled_from(workers))
    batch_size = draw(st.integers(num_workers + 1, 12))
    metrics = draw(st.lists(st.sampled_from(label.metrics), unique_by=str, max_size=3)) if label.metrics else []
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    job: dict[str, Any] = {
        "data": {
            "features": made.features,
            "label": {"y": _label_options(draw, label)},
            "weight": weight,
            "shuffle": draw(st.sampled_from(["rows", "rows", "none"])),
            "block_rows": draw(st.sampled_from([4, 16, 8192])),
            "window_rows": draw(st.sampled_from([8, 262144])),
            "validation": {"fraction": 0.3 if validation == "fraction" else 0.0},
        },
        "cluster": {"num_workers": num_workers},
        "training": {
            "loss": label.loss,
            "class_weights": class_weights,
            "optimizer": optimizer,
            "schedule": draw(st.sampled_from(SCHEDULES)) if optimizer["name"] != "adadelta" else None,
            "metrics": metrics,
            "batch_size": batch_size,
            "epochs": draw(st.integers(1, 3)),
            "seed": draw(st.integers(0, 2**31 - 1)),
        },
        "checkpoint": {
            "every_epochs": draw(st.sampled_from([None, 1])),
            "every_steps": draw(st.sampled_from([None, 3])),
        },
        "report": {"progress": "off"},
    }
    # statistics of a batch are exact where nothing pads it: one worker, whole batches
    norm = num_workers == 1 and validation == "none" and sum(counts) % batch_size == 0
    return Case(
        kinds=made.kinds,
        rows=rows,
        counts=counts,
        job=job,
        inputs=tuple(made.inputs),
        outputs=label.outputs,
        hidden=draw(st.booleans()),
        norm=norm and draw(st.booleans()),
        source=draw(st.sampled_from(["frame", "frame", "tuples", "dicts"])),
        stops=draw(st.integers(1, 6)) if any(job["checkpoint"].values()) and draw(st.booleans()) else 0,
        validation=made.rows(draw(st.integers(1, 9))) if validation == "rows" else None,
    )


def _weights(draw: Any, made: _Drawing, label: Label) -> tuple[Optional[str], Optional[dict[int, float]]]:
    """Give rows and classes weights, or not; a weight is the last column."""
    of_class = {0: 0.5, 1: 2.0} if label.loss == {"name": "softmax_cross_entropy"} and draw(st.booleans()) else None
    if not draw(st.booleans()):
        return None, of_class
    rng, kind = made.rng, draw(st.sampled_from(["float", "double", "int"]))

    def values(n: int) -> list[Any]:
        drawn = rng.integers(1, 4, n) if kind == "int" else rng.uniform(0.1, 3, n).astype(np.float32).astype(float)
        return list(drawn.tolist())

    made.column("w", kind, values)
    return "w", of_class


def _label_options(draw: Any, label: Label) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if label.loss == {"name": "softmax_cross_entropy"}:
        options["dtype"] = draw(st.sampled_from(["float32", "int32", "int64"]))
        if draw(st.booleans()):
            options["classes"] = label.outputs
    elif draw(st.booleans()):
        options["dtype"] = draw(st.sampled_from(["float32", "float64"]))
    return options


@st.composite
def cases_with(draw: Any, flaw: Any, workers: tuple[int, ...] = (1, 2)) -> Case:
    """Draw a job with a flaw, one of `flaws.FLAWS`."""
    case: Case = draw(good_cases(workers, flaw.labels).filter(flaw.fits))
    changed = replace(case, job=copy.deepcopy(case.job), rows=copy.deepcopy(case.rows), flaw=flaw.name)
    made: Case = flaw.make(draw, changed)
    return made
