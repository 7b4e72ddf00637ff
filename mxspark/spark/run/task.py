"""What runs inside a barrier task: start the agent of this slot, and wait on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pyspark import BarrierTaskContext

from mxspark.agent import launch
from mxspark.job.spec import AgentSpec
from mxspark.protocol import codec


def run_slot(spec_json: str, _rows: Iterable[int]) -> Iterator[str]:
    """Start the agent and yield its outcome as JSON; the task's partition id is the worker's rank."""
    context = BarrierTaskContext.get()
    spec = codec.decode(AgentSpec, json.loads(spec_json))
    spec = replace(spec, rank=context.partitionId(), sys_path=python_path(spec.sys_path))
    with launch.slot_agent(spec, sys.executable) as agent:
        yield json.dumps(agent.wait())


def python_path(of_driver: tuple[str, ...]) -> tuple[str, ...]:
    """Return this process's module path, then what only the driver has of folders that exist here."""
    here = [str(Path(entry).absolute()) for entry in sys.path]
    return tuple(dict.fromkeys([*here, *(entry for entry in of_driver if Path(entry).exists())]))
