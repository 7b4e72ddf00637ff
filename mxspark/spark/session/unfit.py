"""Settings of Spark that no gang can live with: what each would do, and what to set instead. Pure.

What Spark has of settings that kill, lend or restrict Python workers, and what comes of each here, is in
``docs/spark-settings.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable

Settings = Mapping[str, str]

_IDLE = (
    ("spark.python.worker.idleTimeoutSeconds", "spark.python.worker.killOnIdleTimeout"),
    # for DataFrames; they are those above unless they are set
    ("spark.sql.execution.pyspark.udf.idleTimeoutSeconds", "spark.sql.execution.pyspark.udf.killOnIdleTimeout"),
)
SQL = _IDLE[1]
"""Settings that a session may have besides those of its application."""


def problems(settings: Settings) -> list[str]:
    """Return why no gang can be formed with these settings, each with what to set."""
    return [text for look in _LOOKS for text in [look(settings)] if text]


def _dynamic_allocation(settings: Settings) -> str:
    if not _is_on(settings.get("spark.dynamicAllocation.enabled")):
        return ""
    return (
        "spark.dynamicAllocation.enabled is true, but the workers are one barrier stage, which Spark does not "
        "run with dynamic allocation; start the session with --conf spark.dynamicAllocation.enabled=false and "
        "spark.executor.instances"
    )


def _idle_timeout(settings: Settings) -> str:
    for limit, kill in _IDLE:
        seconds = settings.get(limit, "0")
        if _is_on(settings.get(kill)) and not re.match(r"0+(?!\d)", seconds):
            return (
                f"{kill} is true, and Spark would end the Python of every worker that says nothing to it for {limit} = "
                f"{seconds}, as workers do until they have trained; start the session with --conf {kill}=false"
            )
    return ""


def _address_space(settings: Settings) -> str:
    key = "spark.executor.pyspark.memory"
    given = settings.get(key, "0")
    if re.match(r"0+(?!\d)", given):
        return ""
    return (
        f"{key} is {given}, which limits what a worker may map (RLIMIT_AS) and not what it uses: rows, libraries and "
        f"stacks count in full, and MXNet ends with a SIGSEGV; start the session with --conf {key}=0 and give the "
        "memory to spark.executor.memoryOverhead"
    )


def _is_on(value: object) -> bool:
    return str(value).lower() == "true"


_LOOKS: tuple[Callable[[Settings], str], ...] = (_dynamic_allocation, _idle_timeout, _address_space)
