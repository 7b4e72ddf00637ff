"""The file of ``--result``: refused before anything is begun, and nothing that a run is lost to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from mxspark.errors import InputError


def check(path: Optional[str]) -> None:
    """Raise InputError if a file cannot be written there; None is none."""
    if path is None:
        return
    target = Path(path)
    folder = target.absolute().parent
    if target.is_dir():
        raise InputError(f"--result {path} is a folder; name a file")
    if not folder.is_dir():
        raise InputError(f"--result {path}: there is no folder {folder}; make it, or name another file")
    if not os.access(target if target.exists() else folder, os.W_OK):
        raise InputError(f"--result {path} cannot be written: this user has no right to; name another file")


def write(path: Optional[str], result: Mapping[str, Any]) -> None:
    """Write what a run came to; if that cannot be any more, say so."""
    if path is None:
        return
    try:
        Path(path).write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        print(f"mxspark: --result {path} cannot be written: {error.strerror}", file=sys.stderr)
