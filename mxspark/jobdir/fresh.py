"""Whether a command that starts over does so for the first time: its retry must not throw away what it has reached."""

from __future__ import annotations

from typing import Optional

from mxspark.job.record import JobSettings, differences, with_known_shapes
from mxspark.jobdir import record_file
from mxspark.jobdir.record_file import MODELS
from mxspark.storage.base import Storage, join


def is_begun(storage: Storage, path: str, settings: JobSettings, invocation: Optional[str]) -> bool:
    """Tell whether what lies in a job dir was begun afresh by an earlier try of the same command, and is not finished.

    Parameters
    ----------
    invocation : str or None
        What names the command in all of its tries; None where nothing does, and each is one of its own.
    """
    if invocation is None or record_file.read_begun(storage, path) != invocation:
        return False
    # published at the end of training alone, so a command that has it is not tried again but given again
    if storage.stat(join(path, MODELS[0])) is not None:
        return False
    recorded = record_file.read(storage, path)
    if recorded is None:
        return False
    return not differences(recorded.settings, with_known_shapes(settings, recorded.settings))
