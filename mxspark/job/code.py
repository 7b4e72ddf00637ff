"""What the code of a module is, by a digest of it and of the user's own modules that it imports; nothing is run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Optional

#: More of the user's modules than this are not looked at: what a package imports may be any number.
MOST = 200

#: What is known by its name, wherever it lies: Spark's own Python is in no folder of installed packages.
LIBRARIES = ("builtins", "mxnet", "numpy", "pandas", "pyarrow", "pyspark", "py4j", "scipy", "sklearn", "torch")

_SHARED = {"site-packages", "dist-packages"}
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def digests(module: str, found: Optional[ModuleSpec]) -> dict[str, str]:
    """Return a digest for a module and for each of the user's own that it imports, and those import, by their names.

    Comments and blanks do not count. Of a module whose source cannot be read it is "".

    Parameters
    ----------
    found : ModuleSpec or None
        Where the module is.
    """
    told: dict[str, str] = {}
    waiting = deque([(module, found)])
    while waiting and len(told) < MOST:
        name, spec = waiting.popleft()
        if name in told:
            continue
        tree = _tree(spec)
        told[name] = "" if tree is None else hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:8]
        if tree is not None and spec is not None:
            waiting.extend(_imported(tree, name if _is_package(spec) else name.rpartition(".")[0]))
    return told


def of_import(name: str) -> dict[str, str]:
    """Return the same of what an import of that name runs of the user's; nothing for what is none of them."""
    found: dict[str, str] = {}
    for part, spec in _on_the_way(name):
        if spec.origin is not None and is_of_user(part, spec.origin):
            found.update(digests(part, spec))
    return found


def _tree(spec: Optional[ModuleSpec]) -> Optional[ast.Module]:
    try:
        return ast.parse(Path(spec.origin if spec and spec.origin else "").read_text("utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError):  # a zip, an extension; what is wrong is told elsewhere
        return None


def _is_package(spec: ModuleSpec) -> bool:
    return spec.submodule_search_locations is not None


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, Optional[ModuleSpec]]]:
    """Yield the user's modules that a module of a package imports anywhere in it, also inside functions."""
    names = dict.fromkeys(name for node in ast.walk(tree) for name in _names(node, package))
    for name in names:
        for part, spec in _on_the_way(name):
            if spec.origin is not None and is_of_user(part, spec.origin):
                yield part, spec


def _names(node: ast.AST, package: str) -> Sequence[str]:
    """Return the names that may be modules in an import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    try:
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:  # beyond the package: it cannot be imported either
        return []
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def _on_the_way(name: str) -> Iterator[tuple[str, ModuleSpec]]:
    """Yield the packages that an import of a module runs, and the module, as far as they are found without that."""
    folders = None
    parts = name.split(".")
    for place in range(len(parts)):
        part = ".".join(parts[: place + 1])
        # not `importlib.util.find_spec`, which imports the package
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            return
        yield part, spec
        if spec.submodule_search_locations is None:
            return
        folders = list(spec.submodule_search_locations)


def is_of_user(name: str, origin: str) -> bool:
    """Tell whether a module of that name and file is neither installed nor ours."""
    path = Path(origin)
    is_installed = not _SHARED.isdisjoint(path.parts) or any(folder in path.parents for folder in _INSTALLED)
    return not is_installed and name.partition(".")[0] not in (*LIBRARIES, "mxspark")
