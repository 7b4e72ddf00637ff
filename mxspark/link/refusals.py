"""Who was refused, counted: in a table that does not grow with the strangers."""

from __future__ import annotations

from mxspark.protocol.link import StrangersRefused

MOST_ADDRESSES = 64


class Refusals:
    """Counts refused connections by address, and those of more addresses than it keeps apart together."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._news: dict[str, str] = {}

    def add(self, address: str, why: str) -> None:
        """Count one."""
        key = address if address in self._counts or len(self._counts) < MOST_ADDRESSES else ""
        self._counts[key] = self._counts.get(key, 0) + 1
        self._news[key] = why

    def take_news(self) -> list[StrangersRefused]:
        """Return, once, what was counted since."""
        news, self._news = self._news, {}
        return [StrangersRefused(address, why, self._counts[address]) for address, why in news.items()]
