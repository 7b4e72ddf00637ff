"""The job's configuration: frozen, nested by concern, complete after construction, every problem reported at once.

A YAML file and keyword arguments make the same :class:`JobConfig`. ``conf/job.yaml`` documents every key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from mxspark.bundle import Component, Function
from mxspark.choices import component, network
from mxspark.errors import ConfigError
from mxspark.job_file import override, read_yaml
from mxspark.problems import close, lines
from mxspark.spool import ColumnSpec

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Dtype = Literal["float16", "float32", "float64", "uint8", "int32", "int64"]
Shape = tuple[Annotated[int, Field(gt=0)], ...]


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


class JobSection(Section):
    """Name of the job and the folder that holds all it leaves behind."""

    name: str = Field("job", pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=100)
    dir: str = Field("runs/job", min_length=1)


class Feature(Section):
    """A column the network takes."""

    columns: Optional[tuple[str, ...]] = Field(None, min_length=1)
    shape: Optional[Shape] = None
    dtype: Dtype = "float32"
    scale: float = 1.0


class Label(Section):
    """A column the loss takes."""

    shape: Optional[Shape] = None
    dtype: Dtype = "float32"
    scale: float = 1.0
    classes: Optional[Positive] = None


class Validation(Section):
    """Where validation rows come from: a share of the data, or data of their own."""

    fraction: float = Field(0.0, ge=0.0, lt=1.0)
    path: Optional[str] = None

    @model_validator(mode="after")
    def _one_source(self) -> Validation:
        if self.fraction and self.path:
            raise ValueError(
                f"has both fraction={self.fraction} and path={self.path!r}; remove one: a job has one kind of "
                "validation data"
            )
        return self


class DataSection(Section):
    """The rows, and what their columns become."""

    path: Optional[str] = None
    format: str = "parquet"
    options: dict[str, str] = Field(default_factory=dict)
    features: dict[str, Feature] = Field(min_length=1)
    label: dict[str, Label] = Field(min_length=1)
    validation: Validation = Validation(fraction=0.0)
    shuffle: Literal["rows", "global", "none"] = "rows"
    block_rows: Positive = 8192
    window_rows: Positive = 262_144

    @field_validator("features", "label", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        """Accept ``label: digit`` and ``features: [a, b]`` for columns that need no options."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, (list, tuple)):
            return {str(name): {} for name in value}
        if isinstance(value, Mapping):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @model_validator(mode="after")
    def _distinct(self) -> DataSection:
        both = sorted(set(self.features) & set(self.label))
        if both:
            raise ValueError(f"{', '.join(both)} is both a feature and a label; remove it from one of them")
        return self


class ClusterSection(Section):
    """How many roles, where, and how large."""

    num_workers: Positive = 1
    min_workers: Optional[Positive] = None
    num_servers: Optional[Positive] = None
    servers_on_driver: int = Field(0, ge=0)
    threads_per_worker: Optional[Positive] = None
    server_threads: Positive = 1
    environment: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _servers_fit(self) -> ClusterSection:
        if self.servers_on_driver > self.servers:
            raise ValueError(
                f"servers_on_driver={self.servers_on_driver} is more than the {self.servers} servers there are; "
                "num_servers is the total, raise it"
            )
        if self.fewest_workers > self.num_workers:
            raise ValueError(
                f"min_workers={self.min_workers} is more than num_workers={self.num_workers}; it is the number to go "
                "on with when slots are lost, lower it"
            )
        return self

    @property
    def servers(self) -> int:
        """Number of servers in all: one a worker unless given."""
        return self.num_workers if self.num_servers is None else self.num_servers

    def servers_for(self, workers: int) -> int:
        """Return the number of servers when so many workers are left."""
        return max(workers, self.servers_on_driver) if self.num_servers is None else self.num_servers

    @property
    def fewest_workers(self) -> int:
        """With how many workers a run goes on at least after a loss: all unless given."""
        return self.num_workers if self.min_workers is None else self.min_workers


class TransportSection(Section):
    """What role traffic travels over."""

    mode: Literal["local", "tcp"] = "local"


class TrainingSection(Section):
    """What is trained, and how."""

    network: Annotated[Function, BeforeValidator(network)]
    loss: Annotated[Component, BeforeValidator(component("loss"))]
    optimizer: Annotated[Component, BeforeValidator(component("optimizer"))] = Component("sgd", {"learning_rate": 0.01})
    schedule: Annotated[Optional[Component], BeforeValidator(component("schedule"))] = None
    initializer: Annotated[Component, BeforeValidator(component("initializer"))] = Component("xavier")
    metrics: tuple[Component, ...] = ()
    best_by: Optional[str] = None
    batch_size: Positive = 128
    epochs: Positive = 1
    seed: int = Field(0, ge=0, lt=2**31)
    exchange: Literal["kvstore"] = "kvstore"

    @field_validator("metrics", mode="before")
    @classmethod
    def _build_metrics(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list of metrics, found {value!r:.80}")
        return tuple(map(component("metric"), value))

    @model_validator(mode="after")
    def _best_is_known(self) -> TrainingSection:
        known = ["loss", *(metric.name for metric in self.metrics)]
        if self.best_by is not None and self.best_by not in known:
            raise ValueError(f"best_by is {self.best_by!r}, but the metrics are {known}; name one of them")
        return self


class CheckpointSection(Section):
    """When checkpoints are made and how many are kept."""

    every_epochs: Optional[Positive] = 1
    every_steps: Optional[Positive] = None
    keep: Positive = 3


class FailureSection(Section):
    """Deadlines, and how often a run may be restarted."""

    start_s: Seconds = 120.0
    hang_s: Seconds = 300.0
    lease_s: Seconds = 30.0
    shutdown_s: Seconds = 10.0
    max_restarts: int = Field(3, ge=0)
    backoff_s: Seconds = 2.0


class ReportSection(Section):
    """What is shown while the job runs."""

    progress: Literal["auto", "bar", "lines", "off"] = "auto"
    every_s: Seconds = 10.0


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
    def from_dict(cls, raw: Mapping[str, Any], source: str = "the configuration") -> JobConfig:
        """Build a configuration from nested mappings.

        Raises
        ------
        ConfigError
            Naming every key that is missing, unknown, of the wrong type or impossible, its value and the remedy.
        """
        problems = _unknown_sections(raw)
        sections: dict[str, Section] = {}
        for name, kind in _SECTIONS.items():
            value = raw.get(name)
            if value is None and name in _REQUIRED and name not in raw:
                problems.append(f"{name}: is missing; conf/job.yaml shows what it holds")
                continue
            try:
                sections[name] = kind.model_validate({} if value is None else value)
            except ValidationError as error:
                problems.extend(lines(name, kind, error))
        problems.extend(_across(sections))
        if problems:
            raise ConfigError.from_problems(source, problems)
        built: JobConfig = cls.model_construct(**dict(sections))  # type: ignore[arg-type]
        return built

    @classmethod
    def from_yaml(cls, path: str, overrides: Sequence[str] = ()) -> JobConfig:
        """Build a configuration from a YAML file and ``key.key=value`` overrides."""
        return cls.from_dict(override(read_yaml(path), overrides), source=path)

    def features(self) -> tuple[ColumnSpec, ...]:
        """Declared features, in the order the network takes them."""
        return tuple(
            ColumnSpec(name, f.columns or (name,), f.shape, f.dtype, f.scale) for name, f in self.data.features.items()
        )

    def labels(self) -> tuple[ColumnSpec, ...]:
        """Declared labels, in the order the loss takes them."""
        return tuple(
            ColumnSpec(name, (name,), f.shape, f.dtype, f.scale, f.classes) for name, f in self.data.label.items()
        )


def _unknown_sections(raw: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in (str(key) for key in raw if key not in _SECTIONS):
        home = next((name for name, kind in _SECTIONS.items() if key in kind.model_fields), None)
        hint = f"; did you mean {home}.{key}?" if home else close(key, list(_SECTIONS))
        lines.append(f"{key}: is not a section{hint}")
    return lines


def _across(sections: Mapping[str, Section]) -> list[str]:
    cluster, training = sections.get("cluster"), sections.get("training")
    if not isinstance(cluster, ClusterSection) or not isinstance(training, TrainingSection):
        return []
    if training.batch_size < cluster.num_workers:
        return [
            f"training.batch_size: {training.batch_size} rows cannot be divided over "
            f"cluster.num_workers={cluster.num_workers}; it counts the rows of all workers together, raise it"
        ]
    return []
