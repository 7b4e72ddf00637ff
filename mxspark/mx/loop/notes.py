"""What a worker has noticed, and its user should know."""

from __future__ import annotations


class Notes:
    """Sentences, each handed on once however often it is said."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}
        self._taken = 0

    def add(self, text: str) -> None:
        """Say something."""
        self._said.setdefault(text)

    def take(self) -> list[str]:
        """Return what was said since the last call for the first time."""
        fresh = list(self._said)[self._taken :]
        self._taken = len(self._said)
        return fresh
