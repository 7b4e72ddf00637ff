"""Train Apache MXNet models on the data and the machines of a Spark cluster.

Importing this package loads neither pyspark nor MXNet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mxspark.errors import (
    ClusterError,
    ConfigError,
    DataError,
    Diverged,
    InputError,
    InternalError,
    JobDirError,
    JobDirRemoved,
    MXSparkError,
    NoProgress,
    NotStarted,
    OwnerLives,
    RoleDied,
    TakenOver,
    TrainingCodeError,
)
from mxspark.version import __version__

if TYPE_CHECKING:
    from mxspark.config.job_config import JobConfig
    from mxspark.model import Model
    from mxspark.result import Result
    from mxspark.spark.run.job import train

__all__ = [
    "ClusterError",
    "ConfigError",
    "DataError",
    "Diverged",
    "InputError",
    "InternalError",
    "JobConfig",
    "JobDirError",
    "JobDirRemoved",
    "MXSparkError",
    "Model",
    "NoProgress",
    "NotStarted",
    "OwnerLives",
    "Result",
    "RoleDied",
    "TakenOver",
    "TrainingCodeError",
    "__version__",
    "train",
]
_LAZY = {
    "JobConfig": "mxspark.config.job_config",
    "Model": "mxspark.model",
    "Result": "mxspark.result",
    "train": "mxspark.spark.run.job",
}


def __getattr__(name: str) -> Any:
    """Load what needs pyspark, MXNet or pydantic only when it is asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'mxspark' has no attribute {name!r}")
    import importlib

    if name in ("JobConfig", "train"):  # whoever wants these is a driver, and no executor
        from mxspark.protocol import launcher

        launcher.report_uncaught()
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
