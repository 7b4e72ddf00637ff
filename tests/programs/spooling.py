"""``mxspark train`` on rows that wait at a gate while they are spooled."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mxspark.cli.main import main
from mxspark.spark.spool import inputs

gates, *arguments = sys.argv[1:]
read = inputs.read


def gated(batches: Iterator[Any]) -> Iterator[Any]:
    """Say that the rows are read, and give them once the gate is open."""
    (Path(gates) / f"reached-{os.getpid()}").touch()
    while not (Path(gates) / "go").exists():
        time.sleep(0.02)
    yield from batches


def read_gated(*given: Any) -> Any:
    """Read as usual, through the gate."""
    frame = read(*given)
    return frame.mapInPandas(gated, frame.schema)


inputs.read = read_gated
sys.exit(main(arguments))
