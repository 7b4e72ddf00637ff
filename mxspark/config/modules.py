"""Where the dotted paths of a job lead to, and what to say of one that leads nowhere, or to what cannot be used."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Optional

from mxspark.errors.spelling import closest
from mxspark.job import signatures
from mxspark.job.signatures import Takes
from mxspark.job.spec import Function


def problems(kind: str, function: Function) -> list[str]:
    """Return why a dotted path cannot be right, without running the module: it may import MXNet."""
    if function.path is None:
        return []
    found = _problem(kind, function.path)
    return [] if found is None else [f"{signatures.SIGNATURES[kind].key}: {found}"]


def _problem(kind: str, path: str) -> Optional[str]:
    module, _, attribute = path.partition(":")
    try:
        spec = find(module)
    except Exception as error:  # a parent package is the user's code and may raise anything
        return f"importing the package of {path!r} raised {type(error).__name__}: {error}"
    if spec is None:
        return missing(module)
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        with open(spec.origin, encoding="utf-8") as file:
            known = _top_names(ast.parse(file.read(), spec.origin))
    except SyntaxError as error:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    name = attribute.split(".")[0]
    if known is None:
        return None
    if name not in known:
        return f"module {module!r} has no {name!r}; it defines {', '.join(sorted(known)) or 'nothing'}"
    node = known[name] if name == attribute else None
    return signatures.problem(kind, None if node is None else Takes.of_source(path, node))


def _top_names(tree: ast.Module) -> Optional[dict[str, Optional[ast.AST]]]:
    """Return the names a module defines at its top level, and the functions and classes; None if it cannot be told."""
    found: dict[str, Optional[ast.AST]] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update((target.id, None) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(((alias.asname or alias.name).split(".")[0], None) for alias in node.names)
            if any(alias.name == "*" for alias in node.names):
                return None
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            return None
    return found


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
