"""The code that a job takes along to a cluster: mxspark itself, and the modules of the user that the job names."""

from __future__ import annotations

import importlib.util
import marshal
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from mxspark.config import yaml12
from mxspark.errors import InputError

_TIME = (1980, 1, 1, 0, 0, 0)


def archive(root: Path, into: Path, job_file: Optional[Path], folders: Sequence[Path]) -> Path:
    """Write a zip with bytecode of mxspark, of the checkout's jobs, and of the user's modules, and return its path.

    Parameters
    ----------
    job_file : Path or None
        Whose dotted paths name the modules.
    folders : sequence of Path
        Where the user's modules may lie, the first that has one wins.
    """
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as out:
        for package in ("mxspark", "spark_jobs"):
            _add(out, root, root / package)
        for name in sorted(modules(job_file)) if job_file else ():
            found = next(
                (path for folder in folders for path in (folder / name, folder / f"{name}.py") if path.exists()), None
            )
            if found is not None and found.parent != root:
                _add(out, found.parent, found)
    return into


def modules(job_file: Path) -> set[str]:
    """Return the top-level modules that the dotted paths (``module:name``) of a job file name."""
    try:
        job = yaml12.read(job_file)
    except (OSError, yaml12.NotAJobFile) as error:
        raise InputError(f"{job_file} cannot be read: {error}; name a job file that can be") from error
    paths = (re.fullmatch(r"([A-Za-z_]\w*)(\.\w+)*:\w+", text) for text in _texts(job))
    return {found[1] for found in paths if found}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _add(out: zipfile.ZipFile, base: Path, thing: Path) -> None:
    files = [thing] if thing.is_file() else sorted(path for path in thing.rglob("*") if path.is_file())
    for folder in sorted({path.parent for path in files if path != thing and "__pycache__" not in path.parts}):
        # zipimport finds a package without __init__.py only where its folder is an entry
        out.writestr(zipfile.ZipInfo(f"{folder.relative_to(base)}/", _TIME), b"")
    for path in files:
        if "__pycache__" in path.parts:
            continue
        name = str(path.relative_to(base))
        source = path.read_bytes()
        out.writestr(zipfile.ZipInfo(name, _TIME), source)
        if path.suffix == ".py":
            try:
                compiled = compile(source, name, "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue  # whoever imports it says so
            # flags 1: valid whatever the age of the source, as both are in one file
            header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + bytes(8)
            out.writestr(zipfile.ZipInfo(name + "c", _TIME), header + marshal.dumps(compiled))
