"""What a worker has written for the driver to publish."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StagedFile:
    """A file on the worker's disk, ready to be published."""

    name: str
    bytes: int
    sha256: str
