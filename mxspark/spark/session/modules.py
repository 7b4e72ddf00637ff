"""Where the modules of a job's dotted paths are found, and what to say of one that is not there."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Optional

from mxspark.errors.spelling import closest


def find(module: str) -> Optional[ModuleSpec]:
    """Return where a module is, without running it, or None; its packages are run, and may raise anything."""
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return None  # it is a package of the module that is not there
        raise


def missing(module: str) -> str:
    """Return what to say of a module that `find` has not found."""
    similar = _similar(module)
    return (
        f"there is no module {module!r} in the working directory, beside the job file of --config, in PYTHONPATH or "
        "--py-files, or among the installed packages; "
        + (f"did you mean {similar!r}?" if similar else "put it into one of these places")
    )


def _similar(module: str) -> Optional[str]:
    """Return the module of the user's that was probably meant; installed ones are not meant by a name of one's own."""
    parts = module.split(".")
    folders: Iterable[str] = _folders_of_the_user()
    for place, part in enumerate(parts):
        spec = find(".".join(parts[: place + 1]))
        if spec is None:
            close = closest(part, _modules_in(folders))
            return ".".join([*parts[:place], *close, *parts[place + 1 :]]) if close else None
        folders = spec.submodule_search_locations or ()
    return None


def _folders_of_the_user() -> list[str]:
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = [Path(folder or ".").absolute() for folder in sys.path]
    return [str(folder) for folder in own if not any(one in (folder, *folder.parents) for one in installed)]


def _modules_in(folders: Iterable[str]) -> set[str]:
    found = set()
    for folder in map(Path, folders):
        with contextlib.suppress(OSError):  # a zip, or a folder that is gone or closed to us: no help to be had there
            for path in folder.iterdir():
                if path.suffix == ".py" or any(path.glob("*.py")):
                    found.add(path.stem)
    return found
