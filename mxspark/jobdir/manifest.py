"""What a published folder says about itself, and whether its files hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mxspark.protocol import codec
from mxspark.protocol.staged import StagedFile
from mxspark.storage.base import CorruptFile, Entry, Storage, join
from mxspark.system.files import sha256_of

MANIFEST = "manifest.json"
VERSION = 1
_LIMIT_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20


class Damaged(ValueError):
    """A published folder is not what was published; the message says how."""


@dataclass(frozen=True)
class Manifest:
    """What a published folder holds. It is the last file written before the folder is published.

    Attributes
    ----------
    version : int
        Of this format.
    kind : str
        ``checkpoint``, ``model`` or ``best``.
    run_id, term
        The run that published it and its ownership of the job dir.
    step, epoch, step_in_epoch : int
        Steps done in all, the epoch, and the steps of it that are done.
    files : tuple of StagedFile
        Every file beside the manifest: name, bytes, sha256.
    meta : dict
        Whatever the worker wants to find again.
    """

    version: int
    kind: str
    run_id: str
    term: int
    step: int
    epoch: int
    step_in_epoch: int
    files: tuple[StagedFile, ...]
    meta: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return json.dumps(codec.encode(self), indent=1, sort_keys=True).encode()


def check_names(files: Iterable[StagedFile]) -> None:
    """Refuse names that would lie outside the folder, twice in it, or hide its manifest.

    Raises
    ------
    Damaged
        If a name is not one plain file name.
    """
    seen: set[str] = set()
    for file in files:
        name = file.name
        if not name or name in (".", "..", MANIFEST) or "/" in name or "\0" in name or name in seen:
            raise Damaged(f"{name!r} is not the name of one file beside the manifest")
        seen.add(name)


def parse(data: bytes) -> Manifest:
    """Build the manifest that :meth:`Manifest.to_bytes` wrote.

    Raises
    ------
    Damaged
        If it is not one, of another version, or names files outside its folder.
    """
    try:
        found = json.loads(data)
        version = found.get("version") if isinstance(found, dict) else None
        if version != VERSION:
            raise ValueError(f"version {version!r} where {VERSION} was expected")
        manifest = codec.decode(Manifest, found)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {error}") from error
    check_names(manifest.files)
    return manifest


def read(storage: Storage, folder: str) -> Manifest:
    """Return the manifest of a published folder.

    Raises
    ------
    Damaged
        If it is missing or not readable as one.
    """
    try:
        return parse(storage.read(join(folder, MANIFEST), _LIMIT_BYTES))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Damaged(f"it has no {MANIFEST}") from error
    except CorruptFile as error:
        raise Damaged(str(error)) from error
    except ValueError as error:
        raise error if isinstance(error, Damaged) else Damaged(str(error)) from error


def check_sizes(files: Sequence[StagedFile], found: Sequence[Entry]) -> None:
    """Compare a folder with what it should hold beside its manifest: the same names and sizes, nothing else.

    Raises
    ------
    Damaged
        If they differ; every difference is named.
    """
    there = {entry.name: entry for entry in found if entry.name != MANIFEST}
    problems = [f"{name} does not belong there" for name in sorted(set(there) - {file.name for file in files})]
    for file in files:
        entry = there.get(file.name)
        if entry is None or entry.is_folder:
            problems.append(f"{file.name} is missing")
        elif entry.bytes != file.bytes:
            problems.append(f"{file.name} has {entry.bytes} bytes where {file.bytes} were written")
    if problems:
        raise Damaged("; ".join(problems))


def fetch(storage: Storage, folder: str, into: Path) -> Manifest:
    """Copy a published folder to the new local folder `into` and prove every byte of it.

    Raises
    ------
    Damaged
        If the manifest, a size or a hash does not hold.
    """
    manifest = read(storage, folder)
    check_sizes(manifest.files, storage.list(folder))
    into.mkdir(parents=True)
    for file in manifest.files:
        local = into / file.name
        try:
            storage.get(join(folder, file.name), local)
        except CorruptFile as error:
            raise Damaged(str(error)) from error
        found = sha256_of(local)
        if found != file.sha256:
            raise Damaged(f"{file.name} has the sha256 {found[:12]}… where {file.sha256[:12]}… was written")
    return manifest
