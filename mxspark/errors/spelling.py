"""Words of messages: what a misspelt name was probably meant to be, and how many there are of something."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Return the names of `known` that `word` is most like, at most `count`; none if it is like none.

    Case, hyphens and spaces make no difference, underscores hardly any.

    >>> closest("Batch-size", ["batch_size", "epochs"])
    ['batch_size']
    >>> closest("batchsiez", ["batch_size", "epochs"])
    ['batch_size']
    >>> closest("momentum", ["batch_size", "epochs"])
    []
    """
    names = {_plain(name): name for name in known}
    bare = {plain.replace("_", ""): name for plain, name in names.items()}
    word = _plain(word)
    if found := difflib.get_close_matches(word, names, count):
        return [names[plain] for plain in found]
    return [bare[plain] for plain in difflib.get_close_matches(word.replace("_", ""), bare, count)]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name of a metric what people call it: of a function its own name, where no other has that.

    >>> short_names(["loss", "__main__:off", "a:f1", "b:f1"])
    {'loss': 'loss', '__main__:off': 'off', 'a:f1': 'a:f1', 'b:f1': 'b:f1'}
    """
    last = {name: name.replace(":", ".").rpartition(".")[2] if ":" in name else name for name in names}
    every = list(last.values())
    return {name: short if every.count(short) == 1 else name for name, short in last.items()}


def counted(count: int, what: str) -> str:
    """Return how many there are of something that is one with this name.

    >>> counted(1, "free slot"), counted(2000, "worker")
    ('1 free slot', '2,000 workers')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
