"""Why spooled rows cannot be trained on, in words: pure, of what `survey` knows of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mxspark.data.columns import quoted
from mxspark.data.spool import ColumnSpec
from mxspark.data.survey import Problem, Survey


@dataclass(frozen=True)
class Kind:
    """A kind of `RowProblem`: what its rows are, and what to do; {column} is the first of them, as Spark reads it."""

    what: str
    remedy: str


#: By `RowProblem.kind`: all that is said of a kind.
KINDS = {
    "null": Kind("null", "drop or fill them before training"),
    "not finite": Kind("not finite", "drop or replace them before training"),
    "ragged": Kind(
        "of another length",
        "make all rows of one length n, or drop those: F.slice(F.concat('{column}', F.array_repeat(F.lit(0), n)), 1, n)"
        " pads short ones and cuts long ones (a vector after vector_to_array)",
    ),
    "shape": Kind(
        "of another shape",
        "transpose or reshape them, or correct the declared shape; flat rows are taken in its order",
    ),
    "label": Kind("no valid label", "map the labels to what is declared, or correct dtype and classes of the label"),
    "weight": Kind(
        "no valid weight",
        "make them 0 or more, for 0 a row counts for nothing, multiply all of them where some are too small, or "
        "correct data.weight",
    ),
    "type": Kind(
        "not usable",
        "turn them into numbers that the declared dtype holds, or correct dtype, scale and columns of the array",
    ),
}


#: The elements of an RDD themselves are of another length: they have no name, and no expression of Spark's is for them.
_OF_ELEMENTS = (
    "give every element an entry for each column in the declared order, features, labels, weight, or drop those: "
    "rdd.filter(lambda row: len(row) == n); Rows, namedtuples and dicts go by name and may have more"
)


def problems(survey: Survey, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> list[str]:
    """Return why the spooled rows cannot be trained on, one line a column and kind; empty where they can."""
    if not survey.rows:
        return ["the data has no rows; check the path and the filters that lead to it"]
    lines = [_line(problem, _other_shape(problem, survey.rows, features, labels)) for problem in survey.problems]
    return lines + [line for spec in (*features, *labels) for line in _different_shapes(spec, survey)]


def _line(problem: Problem, instead: str) -> str:
    first = problem.first
    shown = ", ".join(f"{count:,} in partition {partition}" for partition, count in problem.named)
    others = problem.partitions - len(problem.named)
    more = f", and more in {others} other partitions" if others else ""
    rows = "1 row is" if problem.count == 1 else f"{problem.count:,} rows are"
    return (
        f"{f'column {first.column}' if first.column else 'RDD elements'}: {rows} {KINDS[first.kind].what} "
        f"({shown}{more}; first at partition {problem.named[0][0]}, row {first.first_row:,}: {first.detail}); "
        f"{instead}{_remedy(first.kind, first.column)}"
    )


def _remedy(kind: str, column: str) -> str:
    if kind == "ragged" and not column:
        return _OF_ELEMENTS
    # in backquotes where a dot would name a field
    return KINDS[kind].remedy.replace("{column}", column if re.fullmatch(r"\w+", column) else quoted(column))


def _other_shape(problem: Problem, rows: int, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> str:
    """Return what to correct where the declared shape fits no row at all; "" where it fits some, or is none."""
    if problem.first.kind != "ragged" or problem.count < rows:
        return ""
    for section, specs in (("features", features), ("label", labels)):
        for spec in specs:
            if problem.first.column in spec.columns and spec.shape is not None and not spec.is_weight:
                return (
                    f"no row fits the declared shape {list(spec.shape)}: correct data.{section}.{spec.name}.shape, or "
                )
    return ""


def _different_shapes(spec: ColumnSpec, survey: Survey) -> list[str]:
    shapes = survey.shapes[spec.name]
    if len(shapes) < 2:
        return []
    seen = ", ".join(
        f"{list(shape)} in {same.partitions} partition{'s' * (same.partitions > 1)} (first partition {same.first})"
        for shape, same in sorted(shapes.items(), key=lambda item: item[1].first)
    )
    return [
        f"column {', '.join(spec.columns)}: rows have different shapes: {seen}; {_remedy('ragged', spec.columns[0])}"
    ]
