"""What stays the same between the runs of one job, and what a run says of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Optional

from mxspark.data.spool import ColumnSpec
from mxspark.errors.spelling import counted
from mxspark.job import data_record
from mxspark.job.data_record import DataRecord
from mxspark.protocol import codec

VERSION = 3
PARALLELISM = "spark.default.parallelism"
"""What Spark goes by where nothing else says how many partitions there are: the cores, unless it is set."""


@dataclass(frozen=True)
class JobSettings:
    """The part of a job's record that its configuration gives, known before anything is submitted.

    Attributes
    ----------
    training : dict of str to str
        What its loop says fixes the job (`loops.identity`): of Gluon's the labels of network, loss and optimizer.
    batch_size : int
        Rows of a global batch.
    seed : int
        Seed of the job.
    features, labels : tuple of ColumnSpec
        Arrays of a batch; a shape that is not known yet is None.
    validation_fraction : float
        Share of the rows drawn for validation.
    shuffle, block_rows, window_blocks
        Of the plan.
    weight : ColumnSpec or None
        What the rows count, if they do not count the same.
    """

    training: dict[str, str]
    batch_size: int
    seed: int
    features: tuple[ColumnSpec, ...]
    labels: tuple[ColumnSpec, ...]
    validation_fraction: float
    shuffle: bool
    block_rows: int
    window_blocks: int
    weight: Optional[ColumnSpec] = None


@dataclass(frozen=True)
class JobRecord:
    """All that is fixed between the runs of one job; everything else may change.

    Attributes
    ----------
    packing : dict of str to str, or None
        By which settings Spark cut the rows into partitions; None in records of versions that did not keep it.
    """

    settings: JobSettings
    data: DataRecord
    validation_data: Optional[DataRecord] = None
    packing: Optional[dict[str, Optional[str]]] = None

    def to_bytes(self, job_id: str, fresh: Optional[Fresh] = None) -> bytes:
        """Return the content of ``_job.json``; `fresh` is the command that started over with this record."""
        begun = {} if fresh is None else {"begun_by": fresh.command, "begun_with": fresh.options}
        content = {"version": VERSION, "job_id": job_id, **begun, "record": codec.encode(self)}
        return json.dumps(content, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> JobRecord:
        """Build the record that :meth:`to_bytes` wrote; ValueError says why it cannot be."""
        found = json.loads(data)
        version = found.get("version") if isinstance(found, dict) else None
        if version not in (1, 2, VERSION):
            raise ValueError(f"version {version!r} where {VERSION} was expected")
        record = found.get("record")
        if version == 1:
            record = _from_version_1(record)
        if version != VERSION:
            record = _from_version_2(record)
        return codec.decode(JobRecord, record)


def begun(data: bytes) -> Optional[Fresh]:
    """Return which command started over with this record, as :meth:`JobRecord.to_bytes` was told; None if none has."""
    found = json.loads(data)
    if not isinstance(found, dict) or found.get("begun_by") is None:
        return None
    return Fresh(found["begun_by"], found.get("begun_with"))


def _from_version_1(record: Any) -> Any:
    """Return a record that had network, loss and optimizer for all loops, which was Gluon's alone."""
    try:
        settings = dict(record["settings"])
        training = {name: settings.pop(name) for name in ("network", "loss", "optimizer")}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"version 1 without {error}") from error
    return {**record, "settings": {**settings, "training": {"loop": "gluon", **training}}}


def _from_version_2(record: Any) -> Any:
    """Return a record that had checksums of all arrays of all partitions, which grew with both."""
    try:
        data, validation = record["data"], record.get("validation_data")
    except (KeyError, TypeError) as error:
        raise ValueError(f"version 2 without {error}") from error
    validation = None if validation is None else data_record.from_version_2(validation)
    return {**record, "data": data_record.from_version_2(data), "validation_data": validation}


@dataclass(frozen=True)
class Fresh:
    """A command that starts over.

    Attributes
    ----------
    command : str or None
        What names it in all of its tries; None where nothing does, and each is one of its own.
    options : dict or None
        What it says beside the settings that are fixed, by key; None where that was not recorded.
    """

    command: Optional[str] = None
    options: Optional[dict[str, Any]] = None


@dataclass(frozen=True)
class RunInfo:
    """Who a run is, as others see it in the job dir.

    Attributes
    ----------
    run_id : str
        Unique name of the run, also that of its folder.
    job_id : str
        Stable name of the job: the scheduler's, else :func:`job_id`.
    user, host, pid
        Of the driver.
    started : str
        When, as ISO 8601 text with the offset to UTC.
    lease_s : float
        How long it may not have been seen to live before another job may replace it.
    application : str or None
        YARN's name for it, where that starts a driver again that has ended.
    """

    run_id: str
    job_id: str
    user: str
    host: str
    pid: int
    started: str
    lease_s: float = 30.0
    application: Optional[str] = None

    def describe(self) -> str:
        """Return who, where and since when in a few words."""
        return f"run {self.run_id} of {self.user} on {self.host}, pid {self.pid}, since {self.started}"


def job_id(qualified_dir: str, user: str) -> str:
    """Return the stable id of a job that was given none: the same for every run of `user` in the same job dir.

    >>> job_id("file:///data/runs/digits", "ann")
    'a8a77fcab9f8'
    """
    return hashlib.sha256(f"{user}\n{qualified_dir}".encode()).hexdigest()[:12]


def with_known_shapes(settings: JobSettings, known: JobSettings) -> JobSettings:
    """Return `settings` where a shape that is not known yet is that of the array of the same name in `known`."""

    def fill(columns: tuple[ColumnSpec, ...], others: tuple[ColumnSpec, ...]) -> tuple[ColumnSpec, ...]:
        shapes = {column.name: column.shape for column in others}
        return tuple(
            dataclasses.replace(column, shape=shapes.get(column.name)) if column.shape is None else column
            for column in columns
        )

    return dataclasses.replace(
        settings, features=fill(settings.features, known.features), labels=fill(settings.labels, known.labels)
    )


def differences(before: JobSettings, now: JobSettings) -> list[str]:
    """Return one line for each key of a job in which the settings of two differ, with both values."""
    return list(_differences(_by_key(before), _by_key(now), ""))


#: What is called otherwise in a job file, where users change it.
_KEYS = {
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "features": "data.features",
    "labels": "data.label",
    "weight": "data.weight",
    "validation_fraction": "data.validation.fraction",
    "shuffle": "data.shuffle",
    "block_rows": "data.block_rows",
    "window_blocks": "data.window_rows",
}


def _by_key(settings: JobSettings) -> dict[str, Any]:
    """Return settings as they are written in a job file."""
    plain: dict[str, Any] = codec.encode(settings)
    plain["window_blocks"] *= plain["block_rows"]
    plain["shuffle"] = "rows or global" if settings.shuffle else "none"
    return {_KEYS.get(name, name): value for name, value in plain.items()}


def other_data(before: JobRecord, now: JobRecord) -> list[str]:
    """Return one line for each part of the data in which two records differ."""
    return [
        *data_record.other_rows("data", before.data, now.data),
        *data_record.other_rows("data.validation", before.validation_data, now.validation_data),
        *_other_cut(before, now),
    ]


def _other_cut(before: JobRecord, now: JobRecord) -> list[str]:
    """Return in a line what to set where as many rows lie in other partitions than before."""
    pairs = [(before.data, now.data), (before.validation_data, now.validation_data)]
    cut = [(old, new) for old, new in pairs if old is not None and new is not None and len(old.rows) != len(new.rows)]
    if not cut or any(sum(old.rows) != sum(new.rows) for old, new in cut):
        return []
    old, new = cut[0]
    cores = (before.packing or {}).get(PARALLELISM) or str(len(old.rows))
    return [
        f"these are as many rows, in {counted(len(new.rows), 'partition')} where they were in {len(old.rows)}: if "
        f"they are the same, Spark has cut them by other cores; start the session with {PARALLELISM}={cores} to "
        "cut them as before"
    ]


def _differences(before: Any, now: Any, where: str) -> list[str]:
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        prefix = f"{where}." if where else ""
        return [line for key in keys for line in _differences(before.get(key), now.get(key), f"{prefix}{key}")]
    if isinstance(before, list) and isinstance(now, list):
        if _names(before) and _names(before) == _names(now):
            return [line for old, new in zip(before, now) for line in _differences(old, new, f"{where}.{old['name']}")]
        if len(before) == len(now) > 1:
            differing = [i for i, (old, new) in enumerate(zip(before, now)) if old != new]
            first = differing[0]
            count = f"{len(differing)} of {len(before)} differ, first number {first}"
            return [f"{where}: {count}: was {_show(before[first])}, now {_show(now[first])}"]
    return [f"{where}: was {_show(before)}, now {_show(now)}"]


def _names(items: list[Any]) -> list[str]:
    """Return the names of a list of named things, nothing if it is another list."""
    return [item["name"] for item in items if isinstance(item, dict) and "name" in item]


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values"
    text = ", ".join(_names(value)) if isinstance(value, list) and _names(value) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
