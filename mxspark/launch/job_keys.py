"""What the launcher wants to know of a job before there is a driver: pure functions of the script's arguments.

They say nothing about a wrong file or value: the job itself does, with all problems at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mxspark.config import yaml12


def num_workers(arguments: Sequence[str]) -> int:
    """Return how many workers a job asks for: ``--set cluster.num_workers=N``, else its ``--config`` file, else 1."""
    wanted = _value(arguments, "cluster", "num_workers")
    return wanted if isinstance(wanted, int) and wanted > 0 else 1


def job_name(arguments: Sequence[str]) -> str:
    """Return what a job is called: ``--set job.name=NAME``, else its ``--config`` file, else as by default."""
    wanted = _value(arguments, "job", "name")
    return wanted if isinstance(wanted, str) and wanted else "job"


def _value(arguments: Sequence[str], section: str, key: str) -> object:
    """Return what a script's arguments say of a key, the last ``--set`` before the file; None where they do not."""
    options = _pairs(arguments)
    wanted: object = None
    for name, value in options:
        if name == "--config":
            wanted = _in_file(Path(value), section, key)
    for name, value in options:
        path, _, text = value.partition("=")
        if name == "--set" and path == f"{section}.{key}":
            wanted = _in_text(text)
    return wanted


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Return the (option, value) pairs of a script's arguments, written with a space or with '='."""
    pairs = []
    for here, after in zip(arguments, (*arguments[1:], "")):
        name, equals, value = here.partition("=")
        if name.startswith("--"):
            pairs.append((name, value if equals else after))
    return pairs


def _in_file(path: Path, section: str, key: str) -> object:
    """Return a key of a job file, or None."""
    try:
        job = yaml12.read(path)
    except (OSError, yaml12.NotAJobFile):
        return None
    found = job.get(section) if isinstance(job, dict) else None
    return found.get(key) if isinstance(found, dict) else None


def _in_text(text: str) -> object:
    """Return the value of a ``--set``, or None."""
    try:
        return yaml12.load(text)
    except yaml12.NotAJobFile:
        return None
