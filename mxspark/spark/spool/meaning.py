"""Whether spooled rows are what the job says they are: nothing is trained on that would mean something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from mxspark.config.job_config import JobConfig
from mxspark.data import row_problems
from mxspark.data.spool import ColumnSpec, SpooledArray
from mxspark.data.survey import Survey
from mxspark.job import class_weights, label_scale, losses
from mxspark.job.data_record import DataRecord

_INT32 = 2**31
_INT64 = 2**63
_FLOAT32 = 2**24
"""Up to here it holds every whole number."""


def problems(job: JobConfig, training: Survey, validation: Optional[Survey]) -> list[str]:
    """Return why the spooled rows cannot be trained on, one line each; empty where they can."""
    every = [part for part in (training, validation) if part is not None]
    found = _of(job, training, every)
    if validation is not None:
        found += [f"validation data: {line}" for line in _of(job, validation, every)]
    return found


def warnings(job: JobConfig, training: Survey, validation: Optional[Survey]) -> list[str]:
    """Return what the user may have wanted, and may not: rounded numbers, rows that teach or show nothing."""
    every = [part for part in (training, validation) if part is not None]
    rounded = [
        f"{part}{text}, as {key}.dtype says; set {advice} where each number counts"
        for part, survey in zip(("", "validation data: "), every)
        for key, text, advice, is_declared in _rounded(job, survey, every)
        if is_declared
    ]
    return rounded + _rounded_by_the_loss(job, training) + _constant(job, training) + _same_rows(training, validation)


def _of(job: JobConfig, survey: Survey, every: list[Survey]) -> list[str]:
    """Return what is wrong with the rows of `survey`; those of `every` tell what a column is."""
    found = row_problems.problems(survey, *job.spooled())
    if found:  # what was not spooled has no extremes
        return found
    return (
        _unmeant(job, survey)
        + _weightless(job, survey)
        + _vanished(job, survey)
        + [
            f"{text}: set {advice}, or {key}.dtype: float32 where that does no harm"
            for key, text, advice, is_declared in _rounded(job, survey, every)
            if not is_declared
        ]
    )


def _unmeant(job: JobConfig, survey: Survey) -> list[str]:
    """Return why the loss and the metrics cannot mean their labels."""
    first = job.labels()[0]
    labels = [label.name for label in job.labels()]
    seen = losses.seen(labels[0], survey.arrays)
    found = [
        # first: what a scale has made of a label leads to the advice of another loss
        label_scale.needless(job.training.loss, first, seen) or losses.problem(job.training.loss, labels[0], seen)
    ]
    if job.training.class_weights:
        found.append(class_weights.label_problem(labels[0], seen))
    for metric in job.training.metrics:
        label = metric.options.get("label", 0)
        if label < len(labels):  # the worker refuses one that is not there
            found.append(losses.metric_problem(metric, labels[label], losses.seen(labels[label], survey.arrays)))
    return [line for line in found if line is not None]


def _constant(job: JobConfig, survey: Survey) -> list[str]:
    """Say that the label is the same in every row: a network learns to answer that, whatever it is given."""
    name = job.labels()[0].name
    seen = losses.seen(name, survey.arrays)
    # a loss of the user's need not look at it
    if seen is None or seen.low != seen.high or losses.takes(job.training.loss) is None:
        return []
    return [
        f"label {name!r} is {seen.low:g} in every training row, so that nothing can be learnt; check the filters and "
        "joins that lead to the rows"
    ]


def _same_rows(training: Survey, validation: Optional[Survey]) -> list[str]:
    """Say that what is validated on is what is trained on."""
    if validation is None or DataRecord.of(training) != DataRecord.of(validation):
        return []
    return [
        "the validation rows are the training rows, number for number, so that they do not show what the network makes "
        "of rows it has not seen; give it others, or set data.validation.fraction in their place"
    ]


def _weightless(job: JobConfig, survey: Survey) -> list[str]:
    """Say that no row counts, where that is so."""
    weight = job.weight()
    if weight is None or _array(weight.name, survey).maximum:
        return []
    return [f"column {weight.name}: the weight of every row is 0, so that none counts; correct data.weight or the rows"]


def _rounded_by_the_loss(job: JobConfig, survey: Survey) -> list[str]:
    """Return what becomes of a label of whole numbers when a loss brings it into the type of the network."""
    label = job.labels()[0]
    found = losses.seen(label.name, survey.arrays)
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


def _array(name: str, survey: Survey) -> SpooledArray:
    return next(array for array in survey.arrays if array.name == name)


def _vanished(job: JobConfig, survey: Survey) -> list[str]:
    """Return which arrays are all 0 only because their dtype holds no number as small as theirs."""
    found = []
    for section, spec, _ in _arrays(job):
        array = _array(spec.name, survey)
        if array.has_vanished and array.minimum == array.maximum == 0:
            found.append(
                f"column {', '.join(spec.columns)}: every number is too small for {spec.dtype}, which makes it 0; set "
                f"a data.{section}.{spec.name}.scale that makes them larger"
            )
    return found


def _rounded(job: JobConfig, survey: Survey, every: list[Survey]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield for each array whose dtype cannot hold its numbers: key, what is seen, what to set, if it is declared."""
    for section, spec, is_declared in _arrays(job):
        array = _array(spec.name, survey)
        rows = array.rounded
        low, high = array.minimum, array.maximum
        if not rows or low is None or high is None:
            continue
        # one part of the rows may hold whole numbers only, and another show that the column is a measurement
        if any(other.has_fractions for part in every for other in part.arrays if other.name == spec.name):
            continue
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
