"""Output that nobody reads any more does not end a program."""

from __future__ import annotations

import os
import subprocess
import sys

TALKS = """
import logging, sys
from rich.console import Console
from mxspark.system.stdio import protect_output
from mxspark.report.progress import make
protect_output()
for kind in ("lines", "bar"):
    display = make(kind, 0.0)
    display.phase("a phase that is long enough to have a line of its own above the bar")
    display.close()
logging.getLogger("mxspark").warning("words")
print("x" * 100_000, flush=True)
Console(file=sys.stderr).print("a summary")
sys.exit(5)
"""


def test_a_reader_that_goes_away_does_not_end_the_program() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-c", TALKS], stdout=writer, stderr=writer, timeout=300, check=False)
    finally:
        os.close(writer)
    assert done.returncode == 5
