"""The sections of a job's configuration, each checked for itself; `job_config` puts them together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mxspark.config.base import Number, PathText, Positive, Seconds, Section, Text, Whole
from mxspark.config.components import component, network
from mxspark.config.yaml12 import written
from mxspark.errors.spelling import closest, short_names
from mxspark.job import metric
from mxspark.job.spec import BestBy, CheckpointSpec, Component, Function, TrainingSpec
from mxspark.topology import placement

_UNEXPANDED = re.compile(r"^~[^/]*|\$\{?\w+\}?|\{\{.*?\}\}")


def _is_name(value: Optional[str]) -> Optional[str]:
    if value is None or re.fullmatch(r"[A-Za-z0-9][\w.-]*", value):
        return value
    example = re.sub(r"[^\w.-]+", "-", value).strip("-._")
    example = example if re.match(r"[A-Za-z0-9]", example) else "digits-2"
    raise ValueError(
        f"is {value!r}, and it becomes part of paths; use letters, digits, . _ and -, with a letter of a to z or a "
        f"digit first, for instance {example}"
    )


class JobSection(Section):
    """Name of the job and the folder that holds all it leaves behind."""

    name: Annotated[Text, AfterValidator(_is_name)] = Field("job", max_length=100)
    dir: Optional[PathText] = None  # what it is by default follows from the job: `JobConfig.job_dir`
    id: Annotated[Optional[Text], AfterValidator(_is_name)] = Field(None, max_length=250)
    take_over: bool = False
    fresh: bool = False

    @field_validator("dir")
    @classmethod
    def _is_written_out(cls, value: Optional[str]) -> Optional[str]:
        found = _UNEXPANDED.search(value or "")
        if found:
            raise ValueError(
                f"{value!r} has {found.group()!r} in it, which nothing here replaces, so that it would be the name of "
                "a folder; write the path out, or let a shell or Airflow put it into --set job.dir=..."
            )
        return value


class ClusterSection(Section):
    """How many roles, where, and how large."""

    num_workers: Positive = 1
    min_workers: Optional[Positive] = None
    num_servers: Optional[Whole] = Field(None, ge=0)
    servers_on_driver: Whole = Field(0, ge=0)
    threads_per_worker: Optional[Positive] = None
    server_threads: Positive = 1
    environment: dict[Text, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _workers_fit(self) -> ClusterSection:
        if self.fewest_workers > self.num_workers:
            raise ValueError(
                f"min_workers={self.min_workers} is more than num_workers={self.num_workers}; lower it: it is "
                "the number to go on with when slots are lost"
            )
        return self

    @field_validator("environment")
    @classmethod
    def _variables_are_free(cls, value: dict[str, str]) -> dict[str, str]:
        reserved = placement.reserved(value)
        if reserved:
            raise ValueError(
                f"each role gets {', '.join(reserved)} from mxspark; leave them out, or set cluster.threads_per_worker "
                "where the threads of a worker are meant"
            )
        return value

    @property
    def fewest_workers(self) -> int:
        """With how many workers a run goes on at least after a loss: all unless given."""
        return self.num_workers if self.min_workers is None else self.min_workers


class TransportSection(Section):
    """What role traffic travels over."""

    mode: Literal["local", "tcp"] = "local"


class BestBySection(Section):
    """The metric that names the best epoch, and whether more or less of it is better."""

    metric: Union[Text, Function, None] = None
    direction: Optional[Literal["max", "min"]] = None

    @field_validator("metric", mode="before")
    @classmethod
    def _ship(cls, value: Any) -> Any:
        """Accept the function that is among the metrics."""
        return Function.ship(value) if callable(value) else value


class TrainingSection(Section):
    """What is trained, and how."""

    network: Annotated[Function, BeforeValidator(network)]
    loss: Annotated[Component, BeforeValidator(component("loss"))]
    class_weights: Optional[dict[int, Annotated[Number, Field(ge=0)]]] = None
    optimizer: Annotated[Component, BeforeValidator(component("optimizer"))] = Component("sgd", {"learning_rate": 0.01})
    schedule: Annotated[Optional[Component], BeforeValidator(component("schedule"))] = None
    initializer: Annotated[Component, BeforeValidator(component("initializer"))] = Component("xavier")
    metrics: tuple[Component, ...] = ()
    best_by: BestBySection = BestBySection()
    batch_size: Positive = 128
    epochs: Positive = 1
    seed: Whole = Field(0, ge=0, lt=2**31)
    exchange: Literal["auto", "hierarchical", "kvstore"] = "auto"

    @field_validator("class_weights", mode="before")
    @classmethod
    def _are_numbers(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                f"is {value!r}; give a mapping from class to weight, {{0: 1.0, 1: 9.0}}; balanced ones are the number "
                "of rows divided by the number of classes and by that of the rows of the class"
            )
        classes = [int(written(key)) for key in value or () if str(written(key)).lstrip("+-").isdigit()]
        twice = sorted({number for number in classes if classes.count(number) > 1})
        if twice:
            raise ValueError(f"names class {twice[0]} twice; remove one of them")
        return value

    @field_validator("class_weights")
    @classmethod
    def _some_class_counts(cls, value: Optional[dict[int, float]]) -> Optional[dict[int, float]]:
        if value is not None and not value:
            raise ValueError("names no class; give a mapping from class to weight, or leave it out")
        return value

    @field_validator("metrics", mode="before")
    @classmethod
    def _build_metrics(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list of metrics, found {value!r:.80}; put it into brackets, [...]")
        return tuple(map(component("metric"), value))

    @field_validator("best_by", mode="before")
    @classmethod
    def _metric_alone(cls, value: Any) -> Any:
        """Accept ``best_by: accuracy`` where the direction need not be said."""
        if value is None:
            return {}
        return value if isinstance(value, (Mapping, BestBySection)) else {"metric": value}

    @model_validator(mode="after")
    def _best_is_known(self) -> TrainingSection:
        known = [metric.LOSS, *metric.value_names(self.metrics)]
        if self.best_metric in known:
            return self
        given = self.best_by.metric
        name = given.label if isinstance(given, Function) else str(given)
        if name in known:
            # two functions that one function has made have one name, and may count differently
            raise ValueError(
                f"best_by is a function named as the metric {name} that does something else; give the same function to "
                "both, or name the metric"
            )
        close = closest(name, known)
        raise ValueError(
            f"best_by is {name!r}, but the metrics are {known}; "
            + (f"did you mean {close[0]}?" if close else "name one of them")
        )

    @model_validator(mode="after")
    def _direction_is_known(self) -> TrainingSection:
        """Refuse a direction that contradicts what a metric means, and one that nobody knows."""
        said, name = self.best_by.direction, self.best_metric
        if said is not None and self.best_by.metric is None and len(self.metrics) > 1:
            # --set training.best_by.direction=... takes the place of a metric that the file names alone
            raise ValueError(
                f"best_by has the direction {said} and no metric; name it too: best_by: {{metric: {name}}}"
            )
        means = metric.directions(self.metrics).get(name)
        if said is None and means is None:
            raise ValueError(
                f"best_by is {name}, of which only you know what is better; set best_by: {{metric: {name!r}, "
                "direction: max}, or min where less is better"
            )
        if said is not None and means is not None and said != means:
            raise ValueError(
                f"best_by says that {said} is better, but of {name} it is {means}; leave the direction out, or name "
                "another metric"
            )
        return self

    @property
    def best_metric(self) -> str:
        """The reported name of what names the best epoch: `metric.default_best`, unless something is given."""
        given, names = self.best_by.metric, metric.reported_names(self.metrics)
        if isinstance(given, Function):
            return next((name for name, one in zip(names, self.metrics) if one.function == given), "")
        if given is None and self.best_by.direction is not None:  # of the first metric, then
            return [*names, metric.LOSS][0]
        full = {short: name for name, short in short_names([metric.LOSS, *metric.value_names(self.metrics)]).items()}
        return full.get(given, given) if given else metric.default_best(self.metrics)

    def better(self) -> dict[str, str]:
        """Return for each reported value whether ``max`` or ``min`` is better, where that is known or told."""
        better = metric.directions(self.metrics)
        if self.best_by.direction is not None:
            better[self.best_metric] = self.best_by.direction
        return better

    def spec(self) -> TrainingSpec:
        """Return what and how to train, in the terms of a worker."""
        return TrainingSpec(
            network=self.network,
            loss=self.loss,
            optimizer=self.optimizer,
            schedule=self.schedule,
            initializer=self.initializer,
            metrics=self.metrics,
            best_by=BestBy(self.best_metric, "validation", self.better()[self.best_metric]),
            epochs=self.epochs,
            seed=self.seed,
            class_weights=tuple(sorted((self.class_weights or {}).items())),
        )


class CheckpointSection(Section):
    """When checkpoints are made and how many are kept."""

    every_epochs: Optional[Positive] = 1
    every_steps: Optional[Positive] = None
    keep: Positive = 3
    retry_s: Seconds = 600.0

    def spec(self) -> CheckpointSpec:
        """Return when a worker makes one."""
        return CheckpointSpec(self.every_epochs, self.every_steps)


class FailureSection(Section):
    """Deadlines, and how often a run may be restarted."""

    start_s: Seconds = 120.0
    slots_s: Seconds = 3600.0
    hang_s: Seconds = 300.0
    lease_s: Seconds = 30.0
    shutdown_s: Seconds = 10.0
    grace_s: Seconds = 10.0
    max_restarts: Whole = Field(3, ge=0)
    backoff_s: Seconds = 2.0


class ReportSection(Section):
    """What is shown while the job runs."""

    progress: Literal["auto", "bar", "lines", "off"] = "auto"
    every_s: Seconds = 10.0
