"""Which training a line is of, where several run in one process: else nobody could tell their lines apart."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import ClassVar, Optional


class Title:
    """The name of a training, shown before its lines as long as another one runs; it runs inside the ``with``.

    Parameters
    ----------
    name, folder : str
        Of the job. Its folder stands for one that is named as another is.
    """

    _live: ClassVar[list[Title]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str = "", folder: str = "") -> None:
        self._name = name
        self._folder = folder

    def __enter__(self) -> Title:
        with self._lock:
            self._live.append(self)
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        with self._lock:
            self._live.remove(self)

    def over(self, text: str) -> str:
        """Return a line with the name before it, if that is needed."""
        with self._lock:
            others = [one._name for one in self._live if one is not self]
        if not others or not self._name:
            return text
        return f"{self._folder if self._name in others else self._name}: {text}"
