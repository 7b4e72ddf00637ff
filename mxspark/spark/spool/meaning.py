"""Whether spooled rows are what the job says they are: nothing is trained on that would mean something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.data.spool import SpoolReady
from mxspark.job import class_weights, losses
from mxspark.spark.spool import stage

_INT32 = 2**31
_INT64 = 2**63
_FLOAT32 = 2**24
"""Up to here it holds every whole number."""


def problems(job: JobConfig, training: Sequence[SpoolReady], validation: Optional[Sequence[SpoolReady]]) -> list[str]:
    """Return why the spooled rows cannot be trained on, one line each; empty where they can."""
    found = _of(job, training)
    if validation is not None:
        found += [f"validation data: {line}" for line in _of(job, validation)]
    return found


def warnings(job: JobConfig, training: Sequence[SpoolReady]) -> list[str]:
    """Return what a declared dtype does to the numbers, which the user may want."""
    return [
        f"{text}, as {key}.dtype says; set {advice} where each number counts"
        for key, text, advice, is_declared in _rounded(job, training)
        if is_declared
    ] + _rounded_by_the_loss(job, training)


def _of(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    found = stage.problems(ready, *job.spooled())
    if found:  # what was not spooled has no extremes
        return found
    return (
        _unmeant(job, ready)
        + _weightless(job, ready)
        + [
            f"{text}: set {advice}, or {key}.dtype: float32 where that does no harm"
            for key, text, advice, is_declared in _rounded(job, ready)
            if not is_declared
        ]
    )


def _unmeant(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Return why the loss and the metrics cannot mean their labels."""
    labels = [label.name for label in job.labels()]
    seen = losses.seen(labels[0], ready)
    found = [losses.problem(job.training.loss, labels[0], seen)]
    if job.training.class_weights:
        found.append(class_weights.label_problem(labels[0], seen))
    for metric in job.training.metrics:
        label = metric.options.get("label", 0)
        if label < len(labels):  # the worker refuses one that is not there
            found.append(losses.metric_problem(metric, labels[label], losses.seen(labels[label], ready)))
    return [line for line in found if line is not None]


def _weightless(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Say that no row counts, where that is so."""
    weight = job.weight()
    files = [file for part in ready if part.rows for file in part.files if weight and file.name == weight.name]
    if weight is None or any(file.maximum for file in files):
        return []
    return [f"column {weight.name}: the weight of every row is 0, so that none counts; correct data.weight or the rows"]


def _rounded_by_the_loss(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Return what becomes of a label of whole numbers when a loss brings it into the type of the network."""
    label = job.labels()[0]
    found = losses.seen(label.name, ready)
    if found is None or not label.dtype.startswith("int") or losses.takes(job.training.loss) is not losses.ANY:
        return []
    if max(-found.low, found.high) <= _FLOAT32:
        return []
    name, loss = label.name, job.training.loss.name
    return [
        f"label {name!r} has whole numbers to {found.high:,.0f}, and training.loss {loss} computes in the type of the "
        f"network, float32, which rounds them; set a data.label.{name}.scale that makes them small"
    ]


def _rounded(job: JobConfig, ready: Sequence[SpoolReady]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield for each array whose dtype cannot hold its numbers: key, what is seen, what to set, if it is declared."""
    for section, specs, declared in (
        ("features", job.features(), job.data.features),
        ("label", job.labels(), job.data.label),
    ):
        for spec in specs:
            files = [file for part in ready if part.rows for file in part.files if file.name == spec.name]
            rows = sum(file.rounded for file in files)
            # one partition may hold whole numbers only, and another show that the column is a measurement
            if not rows or any(file.has_fractions for file in files):
                continue
            low = min(file.minimum for file in files if file.minimum is not None)
            high = max(file.maximum for file in files if file.maximum is not None)
            key = f"data.{section}.{spec.name}"
            whole = _holding(low, high)
            # a loss computes in the type of the network, whatever that of the label is
            advice = f"{key}.dtype: {whole}" if section == "features" else f"a {key}.scale that makes them small"
            text = (
                f"column {', '.join(spec.columns)}: {rows:,} row{'s have' if rows > 1 else ' has'} whole numbers (from "
                f"{low:,.0f} to {high:,.0f}) that {spec.dtype} rounds to others"
            )
            yield key, text, advice, "dtype" in declared[spec.name].model_fields_set


def _holding(low: float, high: float) -> str:
    """Return the dtype that holds whole numbers of a range."""
    if low >= -_INT32 and high < _INT32:
        return "int32"
    return "int64" if low >= -_INT64 and high < _INT64 else "float64"
