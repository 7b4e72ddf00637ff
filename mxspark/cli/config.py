"""``mxspark config``: print the file that documents every key of a job."""

from __future__ import annotations

from typing import Any

from mxspark.config import reference


def add_to(verbs: Any) -> None:
    """Add the verb to the command line."""
    verbs.add_parser("config", help="print a job file with every key, its default and what it means")


def run() -> int:
    """Print it, and return the exit code."""
    print(reference.text(), end="")
    return 0
