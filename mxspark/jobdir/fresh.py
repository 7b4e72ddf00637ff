"""Whether a command that starts over does so for the first time: its retry must not throw away what it has reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from mxspark.job import fixed
from mxspark.job.record import Fresh, JobRecord, JobSettings, differences, with_known_shapes
from mxspark.jobdir import record_file
from mxspark.jobdir.record_file import MODELS
from mxspark.storage.base import Storage, join


@dataclass(frozen=True)
class EarlierTry:
    """What an earlier try of a command began when it started over, and has not finished.

    Attributes
    ----------
    record : JobRecord
        Of the job that it began.
    options : dict or None
        What it said beside that, by key; None where that was not recorded.
    """

    record: JobRecord
    options: Optional[dict[str, Any]]

    def changes(self, settings: JobSettings, wish: Fresh) -> list[str]:
        """Return a line for each setting and option that the command has changed since then: it means another job."""
        lines = differences(self.record.settings, with_known_shapes(settings, self.record.settings))
        if self.options is None:
            return [*lines, "what else it said was not recorded"]
        return [*lines, *fixed.changes(self.options, wish.options or {})]


def earlier_try(storage: Storage, path: str, wish: Fresh) -> Optional[EarlierTry]:
    """Return what an earlier try of the same command has begun in a job dir; None if there is none to go on with."""
    begun = record_file.read_begun(storage, path) if wish.command is not None else None
    if begun is None or begun.command != wish.command:
        return None
    # published at the end of training alone, so a command that has it is not tried again but given again
    if storage.stat(join(path, MODELS[0])) is not None:
        return None
    record = record_file.read(storage, path)
    return None if record is None else EarlierTry(record, begun.options)
