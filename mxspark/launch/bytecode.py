"""Bytecode inside the zip archives that Spark puts before everything else on the path of its Python processes.

spark-submit lets the driver and the workers import pyspark from ``pyspark.zip`` even when a compiled pyspark is
installed beside it. Python keeps no bytecode for archives, so that each driver and the first worker of each executor
would compile half of pyspark anew: 0.4 s apiece.
"""

from __future__ import annotations

import importlib.util
import marshal
import zipfile
from pathlib import Path
from types import CodeType
from typing import Optional


def compile_archives(site_packages: Path, final: Path) -> None:
    """Add bytecode to the archives of an installed pyspark, taken from the modules installed beside them.

    Parameters
    ----------
    site_packages : Path
        Where pyspark lies now, compiled.
    final : Path
        Where it will lie: tracebacks name this path.
    """
    for archive in sorted((site_packages / "pyspark/python/lib").glob("*.zip")):
        part = archive.with_suffix(".part")
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                source = old.read(entry)
                new.writestr(entry, source)
                compiled = _compiled(site_packages / entry.filename, source)
                if compiled is not None:
                    there = str(final / archive.relative_to(site_packages) / entry.filename)
                    # flags 1: valid whatever the age of the source, as both are in one file
                    header = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + bytes(8)
                    new.writestr(entry.filename + "c", header + marshal.dumps(_renamed(compiled, there)))
        part.rename(archive)  # not written in place: the installer's cache may hold the same inode


def _compiled(module: Path, source: bytes) -> Optional[CodeType]:
    """Return the code that was compiled from the same source, if the installer left it."""
    if module.suffix != ".py" or not module.is_file() or module.read_bytes() != source:
        return None
    cached = Path(importlib.util.cache_from_source(str(module)))
    if not cached.is_file():
        return None
    code = marshal.loads(cached.read_bytes()[16:])
    return code if isinstance(code, CodeType) else None


def _renamed(code: CodeType, path: str) -> CodeType:
    """Return the code with another file name in it and in everything it defines."""
    inner = tuple(_renamed(const, path) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_filename=path, co_consts=inner)
