"""Which exception a cause becomes: by who can mend it."""

from __future__ import annotations

from mxspark.errors import (
    ClusterError,
    DataError,
    InternalError,
    MXSparkError,
    NoProgress,
    NotStarted,
    RoleDied,
    TrainingCodeError,
)
from mxspark.errors.cause import Cause

_ERRORS: dict[str, type[MXSparkError]] = {
    "training": TrainingCodeError,
    "input": DataError,
    "hang": NoProgress,
    "start": NotStarted,
    "internal": InternalError,
    "role": RoleDied,
    "agent": RoleDied,
}


def error_of(cause: Cause) -> MXSparkError:
    """Return the exception of a cause, by who can mend it."""
    return _ERRORS.get(cause.kind, ClusterError)(cause.describe(), cause)
