"""From a configuration and spooled partitions to what workers are told. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional, Union

from mxspark.config.job_config import JobConfig, LookBeside
from mxspark.config.job_file import merge, read_job
from mxspark.config.sections import BestBySection
from mxspark.data.dataset import DataSet
from mxspark.data.plan import EVERY, TRAINING, VALIDATION, Plan, rows_of_share
from mxspark.data.spool import ColumnSpec, Spool
from mxspark.errors import DataError, InputError
from mxspark.job import loops, losses, metric
from mxspark.job.record import JobSettings
from mxspark.job.spec import BuildOrder, Restore, WorkerSpec


def configure(
    config: Union[JobConfig, Mapping[str, Any], str, os.PathLike[str], None],
    sections: Mapping[str, Any],
    look_beside: LookBeside,
) -> JobConfig:
    """Return the job of `config` with `sections` laid over it; `look_beside` as in `JobConfig.from_dict`."""
    if isinstance(config, JobConfig):
        if sections:
            raise InputError(
                f"config is a JobConfig, which is complete, and {sorted(sections)} are given too; give a path "
                "or a mapping"
            )
        return config
    if isinstance(config, (str, os.PathLike)):
        config = os.fspath(config)
        raw, problems = read_job(config)
        return JobConfig.from_dict(merge(raw, sections), config, problems, look_beside)
    return JobConfig.from_dict(merge(config or {}, sections), "the job", look_beside=look_beside)


def settings(job: JobConfig) -> JobSettings:
    """Return what of a configuration stays the same between the runs of a job."""
    training, data = job.training, job.data
    return JobSettings(
        training=loops.identity(training.spec()),
        batch_size=training.batch_size,
        seed=training.seed,
        features=job.features(),
        labels=job.labels(),
        validation_fraction=data.validation.fraction,
        shuffle=data.shuffle != "none",
        block_rows=data.block_rows,
        window_blocks=_window_blocks(job),
        weight=job.weight(),
    )


def data_sets(job: JobConfig, spool: Spool, validation_spool: Optional[Spool]) -> tuple[DataSet, Optional[DataSet]]:
    """Return the training rows and, where the job has some, the validation rows.

    Raises
    ------
    DataError
        If one of them has no row.
    """
    fraction = job.data.validation.fraction
    every = Plan(
        rows_in_all=spool.rows,
        batch_size=job.training.batch_size,
        seed=job.training.seed,
        part=TRAINING if fraction else EVERY,
        fraction=fraction,
        shuffle=job.data.shuffle != "none",
        block_rows=job.data.block_rows,
        window_blocks=_window_blocks(job),
    )
    training = DataSet(spool, every)
    validation = None
    if fraction:
        validation = DataSet(spool, replace(every, part=VALIDATION, shuffle=False))
    elif validation_spool is not None:
        plan = replace(every, rows_in_all=validation_spool.rows, part=EVERY, shuffle=False)
        validation = DataSet(validation_spool, plan)
    for name, rows in (("training", training), ("validation", validation)):
        if rows is not None and not rows.plan.rows:
            raise DataError(
                f"no row is left for {name}: the data has {rows.plan.rows_in_all} rows and data.validation.fraction is "
                f"{fraction}; change the fraction or give more rows"
            )
    return training, validation


def worker_spec(
    job: JobConfig,
    *,
    run_id: str,
    columns: tuple[tuple[ColumnSpec, ...], tuple[ColumnSpec, ...]],
    data: tuple[DataSet, Optional[DataSet]],
    restore: Optional[Restore],
    staging: str,
    mapped_bytes: Optional[int] = None,
) -> WorkerSpec:
    """Return all that every worker is told."""
    return WorkerSpec(
        run_id=run_id,
        size=job.cluster.num_workers,
        features=columns[0],
        labels=columns[1],
        training_data=data[0],
        validation_data=data[1],
        training=job.training.spec(),
        checkpoint=job.checkpoint.spec(),
        restore=restore,
        staging=staging,
        exchange=job.exchange,
        mapped_bytes=mapped_bytes,
        weight=job.weight(),
    )


def build_order(job: JobConfig, features: Sequence[ColumnSpec]) -> BuildOrder:
    """Return the order to build the network as a worker does, for features whose shapes are known."""
    rows = rows_of_share(job.training.batch_size, job.cluster.num_workers)
    return BuildOrder(job.training.spec(), tuple((rows, *(spec.shape or ())) for spec in features))


def unsaid(job: JobConfig, has_validation: bool) -> list[str]:
    """Return what names the best epoch in place of a function of which nobody said what is better."""
    training = job.training
    first = metric.reported_names(training.metrics)[:1]
    if not first or training.best_by != BestBySection() or training.best_metric in first:
        return []
    if not has_validation and not job.data.validation.fraction:
        return []
    return [
        f"the best epoch is that of the best {training.best_metric}, as of {first[0]} only you know what is better; "
        f"set training.best_by: {{metric: {first[0]!r}, direction: max}}, or min where less is better"
    ]


def keeps_nothing(job: JobConfig) -> list[str]:
    """Return that a job makes no checkpoint, so that nothing can go on from it."""
    if job.checkpoint.every_epochs is not None or job.checkpoint.every_steps is not None:
        return []
    return [
        "checkpoint.every_epochs and checkpoint.every_steps are null, so that no checkpoint is made: a failed run "
        "begins from the start, and the same command given again trains everything anew; set one of them to go on"
    ]


def given_away(job: JobConfig) -> list[str]:
    """Return which features are made of columns that are labels too: the network is given the answer."""
    answers = [label for label in job.labels() if losses.is_class_index(job.training.loss)]
    found = [
        f"data.features.{feature.name} is the label {label.name!r} itself, so that the network is given the answer; "
        "where it is to say what follows in a sequence, the label is the column moved by one place"
        for feature in job.features()
        for label in answers
        if feature.columns == label.columns
    ]
    return found + [
        f"data.features.{feature.name} has the label {label.name!r} among its columns, so that the network is given "
        "the answer; remove it from them"
        for feature in job.features()
        for label in job.labels()
        if set(label.columns) & set(feature.columns) and feature.columns != label.columns
    ]


def _window_blocks(job: JobConfig) -> int:
    return max(1, job.data.window_rows // job.data.block_rows)
