"""Starting over in a job dir: what it holds is moved into it once more, as a job dir of its own; nothing is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from mxspark.storage.base import Storage, join

ASIDE = "_aside"
_MOVED = "aside"


def set_aside(storage: Storage, path: str, folder: str, name: str, names: Sequence[str]) -> Optional[str]:
    """Move `names` of the job dir `path` into ``_aside/<name>`` of it, and return that; None if none of them is there.

    Parameters
    ----------
    folder : str
        The owner's own below ``_tmp``, by way of which all of it goes: it is gone if another run took over, and then
        nothing of that run's is moved.

    Raises
    ------
    FileNotFoundError
        If the owner's folder is gone.
    """
    there = {entry.name for entry in storage.list(path)}
    found = [one for one in names if one in there]
    if not found:
        return None
    storage.make_folder(join(folder, _MOVED))
    for one in found:
        storage.rename(join(path, one), join(folder, _MOVED, one))
    return keep(storage, path, folder, name)


def keep(storage: Storage, path: str, folder: str, name: str) -> Optional[str]:
    """Bring what was moved into an owner's folder to its place below ``_aside``; None if there is no such thing.

    The next owner does it for one that died half way.
    """
    moved = join(folder, _MOVED)
    if storage.stat(moved) is None:
        return None
    storage.make_folder(join(path, ASIDE))
    target = join(path, ASIDE, name)
    storage.rename(moved, target)
    return target
