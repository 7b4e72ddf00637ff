"""What a process of a run shows to prove that it belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Identity:
    """A certificate made for one run, its key, and the authority that signed it and nothing else; all as PEM.

    It travels in Spark's task closure and over inherited sockets, and lies in memory: never on a command line, in an
    environment, in a log or in a file. Hence no ``repr``.
    """

    authority: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
