"""``job.fresh``: whether a run starts over, or goes on with what an earlier try of the same command has begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from mxspark.config.job_config import JobConfig
from mxspark.data.spool import ColumnSpec
from mxspark.job.record import Fresh, JobRecord, JobSettings, other_data
from mxspark.jobdir import fixed_file, fresh, record_file
from mxspark.jobdir.record_file import RECORD
from mxspark.spark.run import same_network
from mxspark.spark.run.context import RunContext
from mxspark.spark.session import session
from mxspark.spark.session.session import SessionFacts
from mxspark.storage.base import Storage, join


@dataclass(frozen=True)
class Beginning:
    """How a run begins in its job dir.

    Attributes
    ----------
    fresh : Fresh or None
        The wish to start over; None where it goes on with what is there.
    why : str
        Why that is so; "" where nothing is to be said.
    """

    fresh: Optional[Fresh] = None
    why: str = ""

    def warnings(self, path: str, aside: Optional[str]) -> list[str]:
        """Return what is said of it, once what the job dir `path` held is set aside."""
        if aside is not None:
            why = f" ({self.why})" if self.why else ""
            return [f"job.fresh: what {path} held is set aside as {aside}{why}; nothing of it is deleted"]
        return [f"job.fresh: {self.why}"] if self.why and self.fresh is None else []


def wish(job: JobConfig, facts: SessionFacts, options: Mapping[str, Any]) -> Optional[Fresh]:
    """Return the wish of a job to start over, with all that it says beside the settings that are fixed; None if none.

    What counts is what is trained, `options.of`: other workers, deadlines or checkpoints are the same command.
    """
    if not job.job.fresh:
        return None
    spec = job.training.spec()
    best_by = {f"training.best_by.{name}": value for name, value in asdict(spec.best_by).items()}
    said = {**options, **best_by, "training.epochs": spec.epochs}
    return Fresh(session.command_id(facts, job.job.id), said)


def recorded(storage: Storage, path: str, wished: Optional[Fresh]) -> Optional[JobRecord]:
    """Return the record of the job that a run may go on with; None if it begins one."""
    if wished is None:
        return record_file.read(storage, path)
    before = fresh.earlier_try(storage, path, wished)
    return before.record if before is not None else None


def decide(context: RunContext, storage: Storage, path: str, wished: Optional[Fresh], record: JobRecord) -> Beginning:
    """Decide how a run begins; its rows are spooled, so that all of `record` is known.

    Raises
    ------
    TrainingCodeError
        If the network has to be compared with that of the earlier try, and the user's function raises.
    """
    before = fresh.earlier_try(storage, path, wished) if wished is not None else None
    if wished is None or before is None:
        return Beginning(wished)
    changes = before.changes(record.settings, wished) + other_data(before.record, record)
    # the network last: to know it takes a process that imports MXNet
    changes = changes or _other_network(context, storage, path, record.settings.features)
    if changes:
        return Beginning(wished, _had_begun_another(wished, changes))
    return Beginning(None, f"{_has_begun(wished, path)}; this one goes on from there")


def foreseen(storage: Storage, path: str, wished: Optional[Fresh], settings: JobSettings) -> str:
    """Return what is to be said of a job that wants to start over, as far as it is known without its rows."""
    if wished is None or storage.stat(join(path, RECORD)) is None:
        return ""
    before = fresh.earlier_try(storage, path, wished)
    changes = before.changes(settings, wished) if before is not None else []
    if before is not None and not changes:
        return f"; job.fresh: {_has_begun(wished, path)}: with the same rows and network it is gone on with"
    why = f" ({_had_begun_another(wished, changes)})" if changes else ""
    return f"; job.fresh: what it holds will be set aside{why}"


def _has_begun(wished: Fresh, path: str) -> str:
    return f"an earlier try of {wished.command} has started over in {path} and did not come to its end"


def _had_begun_another(wished: Fresh, changes: Sequence[str]) -> str:
    return f"an earlier try of {wished.command} had begun another job: {'; '.join(changes)}"


def _other_network(context: RunContext, storage: Storage, path: str, features: tuple[ColumnSpec, ...]) -> list[str]:
    """Return in a line how the network differs from that of which something is kept; nothing where it does not."""
    known = fixed_file.read(storage, path)
    if known is None:  # then nothing is kept that was trained
        return []
    other = same_network.difference(context, known.graph, features)  # where that is not known the workers tell
    return [f"of the network, {other}"] if other is not None else []
