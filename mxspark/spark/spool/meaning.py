"""Whether spooled rows are what the job says they are: nothing is trained on that would mean something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.data.spool import ColumnSpec, SpoolFile, SpoolReady
from mxspark.job import class_weights, losses
from mxspark.job.record import DataRecord
from mxspark.spark.spool import stage

_INT32 = 2**31
_INT64 = 2**63
_FLOAT32 = 2**24
"""Up to here it holds every whole number."""


def problems(job: JobConfig, training: Sequence[SpoolReady], validation: Optional[Sequence[SpoolReady]]) -> list[str]:
    """Return why the spooled rows cannot be trained on, one line each; empty where they can."""
    every = [*training, *(validation or ())]
    found = _of(job, training, every)
    if validation is not None:
        found += [f"validation data: {line}" for line in _of(job, validation, every)]
    return found


def warnings(job: JobConfig, training: Sequence[SpoolReady], validation: Optional[Sequence[SpoolReady]]) -> list[str]:
    """Return what the user may have wanted, and may not: rounded numbers, rows that teach or show nothing."""
    every = [*training, *(validation or ())]
    rounded = [
        f"{part}{text}, as {key}.dtype says; set {advice} where each number counts"
        for part, ready in (("", training), ("validation data: ", validation or ()))
        for key, text, advice, is_declared in _rounded(job, ready, every)
        if is_declared
    ]
    return rounded + _rounded_by_the_loss(job, training) + _constant(job, training) + _same_rows(training, validation)


def _of(job: JobConfig, ready: Sequence[SpoolReady], every: Sequence[SpoolReady]) -> list[str]:
    """Return what is wrong with the rows of `ready`; those of `every` tell what a column is."""
    found = stage.problems(ready, *job.spooled())
    if found:  # what was not spooled has no extremes
        return found
    return (
        _unmeant(job, ready)
        + _weightless(job, ready)
        + _vanished(job, ready)
        + [
            f"{text}: set {advice}, or {key}.dtype: float32 where that does no harm"
            for key, text, advice, is_declared in _rounded(job, ready, every)
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


def _constant(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Say that the label is the same in every row: a network learns to answer that, whatever it is given."""
    name = job.labels()[0].name
    seen = losses.seen(name, ready)
    # a loss of the user's need not look at it
    if seen is None or seen.low != seen.high or losses.takes(job.training.loss) is None:
        return []
    return [
        f"label {name!r} is {seen.low:g} in every training row, so that nothing can be learnt; check the filters and "
        "joins that lead to the rows"
    ]


def _same_rows(training: Sequence[SpoolReady], validation: Optional[Sequence[SpoolReady]]) -> list[str]:
    """Say that what is validated on is what is trained on."""
    if validation is None or DataRecord.of(training) != DataRecord.of(validation):
        return []
    return [
        "the validation rows are the training rows, number for number, so that they do not show what the network makes "
        "of rows it has not seen; give it others, or set data.validation.fraction in their place"
    ]


def _weightless(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Say that no row counts, where that is so."""
    weight = job.weight()
    if weight is None or any(file.maximum for file in _files(weight.name, ready)):
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


def _arrays(job: JobConfig) -> Iterator[tuple[str, ColumnSpec, bool]]:
    """Yield each array with its section of the job, and whether its dtype is declared."""
    labels, weight = job.labels(), job.weight()
    weights = () if weight is None else (weight,)
    data = job.data
    for section, specs, declared in (
        ("features", job.features(), data.features),
        ("label", labels, data.label),
        ("weight", weights, data.weight or {}),
    ):
        for spec in specs:
            yield section, spec, "dtype" in declared[spec.name].model_fields_set


def _files(name: str, ready: Sequence[SpoolReady]) -> list[SpoolFile]:
    """Return the files of an array, of partitions that have rows."""
    return [file for part in ready if part.rows for file in part.files if file.name == name]


def _vanished(job: JobConfig, ready: Sequence[SpoolReady]) -> list[str]:
    """Return which arrays are all 0 only because their dtype holds no number as small as theirs."""
    found = []
    for section, spec, _ in _arrays(job):
        files = _files(spec.name, ready)
        if any(file.has_vanished for file in files) and all(file.minimum == file.maximum == 0 for file in files):
            found.append(
                f"column {', '.join(spec.columns)}: every number is too small for {spec.dtype}, which makes it 0; set "
                f"a data.{section}.{spec.name}.scale that makes them larger"
            )
    return found


def _rounded(
    job: JobConfig, ready: Sequence[SpoolReady], every: Sequence[SpoolReady]
) -> Iterator[tuple[str, str, str, bool]]:
    """Yield for each array whose dtype cannot hold its numbers: key, what is seen, what to set, if it is declared."""
    for section, spec, is_declared in _arrays(job):
        files = _files(spec.name, ready)
        rows = sum(file.rounded for file in files)
        # one partition may hold whole numbers only, and another show that the column is a measurement
        if not rows or any(file.has_fractions for file in _files(spec.name, every)):
            continue
        low = min(file.minimum for file in files if file.minimum is not None)
        high = max(file.maximum for file in files if file.maximum is not None)
        key = f"data.{section}.{spec.name}"
        # a loss computes in the type of the network, whatever that of the label is
        is_label = section == "label"
        advice = f"a {key}.scale that makes them small" if is_label else f"{key}.dtype: {_holding(low, high)}"
        text = (
            f"column {', '.join(spec.columns)}: {rows:,} row{'s have' if rows > 1 else ' has'} whole numbers (from "
            f"{low:,.0f} to {high:,.0f}) that {spec.dtype} rounds to others"
        )
        yield key, text, advice, is_declared


def _holding(low: float, high: float) -> str:
    """Return the dtype that holds whole numbers of a range."""
    if low >= -_INT32 and high < _INT32:
        return "int32"
    return "int64" if low >= -_INT64 and high < _INT64 else "float64"
