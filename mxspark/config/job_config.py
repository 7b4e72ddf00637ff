"""The job's configuration: frozen, nested by concern, complete after construction, every problem reported at once.

A YAML file and keyword arguments make the same :class:`JobConfig`. ``job.yaml`` beside this file
documents every key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from pydantic import ValidationError

from mxspark.config.base import Section
from mxspark.config.data_section import DataSection
from mxspark.config.job_file import read_job
from mxspark.config.overrides import Override, blamed, override
from mxspark.config.problems import close, lines
from mxspark.config.reference import shown_by
from mxspark.config.sections import (
    CheckpointSection,
    ClusterSection,
    FailureSection,
    JobSection,
    ReportSection,
    TrainingSection,
    TransportSection,
)
from mxspark.data.spool import ColumnSpec
from mxspark.errors import ConfigError
from mxspark.job import class_weights, fixed, label_scale, losses, metric

_SECTIONS: dict[str, type[Section]] = {
    "job": JobSection,
    "data": DataSection,
    "cluster": ClusterSection,
    "transport": TransportSection,
    "training": TrainingSection,
    "checkpoint": CheckpointSection,
    "failure": FailureSection,
    "report": ReportSection,
}
_REQUIRED = ("data", "training")

#: From a job as it was written to what else is wrong with it, a line each.
LookBeside = Callable[[Mapping[str, Any]], Sequence[str]]


def _see_nothing(_raw: Mapping[str, Any]) -> Sequence[str]:
    return ()


class JobConfig(Section):
    """Everything a job is told.

    Build one with :meth:`from_dict` or :meth:`from_yaml`, which report every problem at once.
    """

    job: JobSection
    data: DataSection
    cluster: ClusterSection
    transport: TransportSection
    training: TrainingSection
    checkpoint: CheckpointSection
    failure: FailureSection
    report: ReportSection

    @classmethod
    def from_dict(
        cls,
        raw: Mapping[str, Any],
        source: str = "the configuration",
        also: Sequence[str] = (),
        look_beside: LookBeside = _see_nothing,
    ) -> JobConfig:
        """Build a configuration from nested mappings; `also` are problems that were found before.

        `look_beside` is asked, once there is a problem, for others that are no longer the configuration's own.

        Raises
        ------
        ConfigError
            Naming every key that is missing, unknown, of the wrong type or impossible, its value and the remedy.
        """
        sections, problems = _validated(raw)
        if also or problems:
            raise ConfigError.from_problems(source, [*also, *problems, *look_beside(raw)])
        return cls._of(sections)

    @classmethod
    def from_yaml(
        cls, path: str, overrides: Sequence[Union[str, Override]] = (), look_beside: LookBeside = _see_nothing
    ) -> JobConfig:
        """Build a configuration from a YAML file and what the command line sets, ``key.key=value``.

        `look_beside` as in :meth:`from_dict`.

        Raises
        ------
        ConfigError
            As :meth:`from_dict`; of each problem it says whether it comes from the file or from the command line.
        """
        in_file, twice = read_job(path)
        raw, wrong = override(in_file, overrides)
        sections, problems = _validated(raw)
        found = [*twice, *wrong, *problems]
        if found:
            source, told = blamed([*found, *look_beside(raw)], overrides, path)
            raise ConfigError.from_problems(source, told)
        return cls._of(sections)

    @classmethod
    def _of(cls, sections: Mapping[str, Section]) -> JobConfig:
        built: JobConfig = cls.model_construct(**dict(sections))  # type: ignore[arg-type]
        return built

    @property
    def job_dir(self) -> str:
        """Where the job keeps what it leaves: ``job.dir``, or a folder that is another for other data or training.

        More epochs, other workers or deadlines are the same job; a loop over learning rates is as many jobs.
        """
        if self.job.dir is not None:
            return self.job.dir
        training = self.training
        what = [
            self.data.model_dump(mode="json", exclude_defaults=True),  # a key that is new is no other job
            [training.network.label, training.network.digest, training.batch_size, training.seed],
            {**fixed.options(training), **fixed.environment(self.cluster.environment)},
        ]
        return f"runs/{self.job.name}-{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]}"

    @property
    def exchange(self) -> str:
        """How gradients are summed: ``hierarchical`` or ``kvstore``; ``auto`` is the first where that can be."""
        return _exchange(self.training, self.transport)

    def servers_for(self, workers: int) -> int:
        """Return the number of servers in all for workers of one host: one, or one a worker with ``kvstore``."""
        return _servers(self.cluster, self.exchange, workers)

    def features(self) -> tuple[ColumnSpec, ...]:
        """Declared features, in the order the network takes them."""
        return tuple(declared.spec(name) for name, declared in self.data.features.items())

    def labels(self) -> tuple[ColumnSpec, ...]:
        """Declared labels, in the order the loss takes them."""
        return tuple(declared.spec(name) for name, declared in self.data.label.items())

    def weight(self) -> Optional[ColumnSpec]:
        """What the rows count; None where they count the same."""
        return next((declared.spec(name) for name, declared in (self.data.weight or {}).items()), None)

    def spooled(self) -> tuple[tuple[ColumnSpec, ...], tuple[ColumnSpec, ...]]:
        """What the spool holds, in the order of an RDD's elements: features; labels, and the weight behind them."""
        weight = self.weight()
        return self.features(), self.labels() if weight is None else (*self.labels(), weight)


def _validated(raw: Mapping[str, Any]) -> tuple[dict[str, Section], list[str]]:
    """Return the sections of a configuration that are right, and a line for each thing that is wrong."""
    problems = _unknown_sections(raw)
    sections: dict[str, Section] = {}
    for name, kind in _SECTIONS.items():
        value = raw.get(name)
        if value is None and name in _REQUIRED and name not in raw:
            problems.append(f"{name}: is missing; {shown_by()} shows what it holds")
            continue
        try:
            sections[name] = kind.model_validate({} if value is None else value)
        except ValidationError as error:
            problems.extend(lines(name, kind, error))
    return sections, [*problems, *_across(sections)]


def _unknown_sections(raw: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in (str(key) for key in raw if key not in _SECTIONS):
        home = next((name for name, kind in _SECTIONS.items() if key in kind.model_fields), None)
        hint = f"; did you mean {home}.{key}?" if home else close(key, list(_SECTIONS))
        lines.append(f"{key}: is not a section{hint}")
    return lines


def _exchange(training: TrainingSection, transport: TransportSection) -> str:
    if training.exchange == "auto":
        return "hierarchical" if transport.mode == "local" else "kvstore"
    return training.exchange


def _servers(cluster: ClusterSection, exchange: str, workers: int) -> int:
    if cluster.num_servers is not None:
        return cluster.num_servers
    return max(workers if exchange == "kvstore" else 1, cluster.servers_on_driver)


def _across(sections: Mapping[str, Section]) -> list[str]:
    """Return what is wrong between sections, of those that are right in themselves."""
    data, cluster, training, transport = (sections.get(name) for name in ("data", "cluster", "training", "transport"))
    if not isinstance(training, TrainingSection):
        return []
    problems = _of_rows(data if isinstance(data, DataSection) else None, training)
    if isinstance(cluster, ClusterSection):
        problems += _of_batches(cluster, training)
        if isinstance(transport, TransportSection):
            problems += _of_exchange(cluster, training, transport)
    return problems


def _of_rows(data: Optional[DataSection], training: TrainingSection) -> list[str]:
    labels = [label.spec(name) for name, label in data.label.items()] if data is not None else []
    found = [
        losses.too_many_labels(training.loss, [label.name for label in labels]),
        class_weights.problem(training.loss, training.class_weights or {}, labels[0].classes if labels else None),
    ]
    return [
        *filter(None, found),
        *metric.take_scores(training.loss, training.metrics),
        *metric.unweighable(training.metrics, "data.weight" if data is not None and data.weight else None),
        *label_scale.problems(training.loss, training.metrics, labels),
    ]


def _of_batches(cluster: ClusterSection, training: TrainingSection) -> list[str]:
    if training.batch_size >= cluster.num_workers:
        return []
    return [
        f"training.batch_size: {training.batch_size} rows cannot be divided over "
        f"cluster.num_workers={cluster.num_workers}; it counts the rows of all workers together, raise it"
    ]


def _of_exchange(cluster: ClusterSection, training: TrainingSection, transport: TransportSection) -> list[str]:
    problems = []
    exchange = _exchange(training, transport)
    if exchange == "hierarchical" and transport.mode == "tcp":
        problems.append(
            "training.exchange: hierarchical sums in memory that the workers of a host share, which needs "
            "transport.mode: local; set that, or exchange: kvstore (auto chooses)"
        )
    if exchange == "kvstore" and cluster.num_servers == 0:
        problems.append(
            "cluster.num_servers: 0 servers cannot add up anything with training.exchange: kvstore; leave it out for "
            "one a worker, or set exchange: hierarchical"
        )
    elif cluster.num_servers is not None and cluster.servers_on_driver > cluster.num_servers:
        problems.append(
            f"cluster.servers_on_driver: {cluster.servers_on_driver} is more than "
            f"cluster.num_servers={cluster.num_servers}, which is the total; raise that"
        )
    return problems
