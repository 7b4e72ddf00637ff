"""Who may import what: code is sorted by the process it runs in, and this holds it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mxspark

PACKAGE = Path(mxspark.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# what may be imported only where (a folder ends in '/')
FENCES = {
    "pyspark": ("spark/",),
    "py4j": ("spark/",),
    "mxnet": ("mx/",),
    "subprocess": ("agent/", "launch/", "submit.py"),
    "socket": ("wire.py", "agent/", "mx/peers.py", "launcher_line.py", "launch/"),
    "ssl": ("wire.py", "agent/", "launch/"),  # the launcher fetches the installer
    "pickle": ("bundle.py",),
    "cloudpickle": ("bundle.py",),
    "pydantic": ("config.py", "sections.py", "problems.py"),
}
# entry points, the launcher and the line to it, and the two modules that read the environment for the driver
READS_ENVIRONMENT = (
    "agent/", "cli.py", "submit.py", "launch/", "spark/session.py", "spark/spool_task.py", "spark/hadoop_client.py",
    "mx/role.py", "mx/thin.py", "launcher_line.py",
)  # fmt: skip


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield every module a file imports outside ``if TYPE_CHECKING``."""
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_inside_their_fences(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    tree = ast.parse(path.read_text())
    for name in imports(tree):
        allowed = FENCES.get(name.split(".")[0])
        assert allowed is None or place.startswith(allowed), f"{place} imports {name}; only {allowed} may"
    if "/" not in place and place not in ("cli.py", "__init__.py", "__main__.py", "result.py"):
        crossing = [n for n in imports(tree) if n.startswith(("mxspark.spark", "mxspark.mx", "mxspark.agent"))]
        assert not crossing, f"{place} is a root module and imports {crossing}"
    for folder, others in {
        "spark/": ("mxspark.mx",),
        "mx/": ("mxspark.spark", "mxspark.agent"),
        "agent/": ("mxspark.spark", "mxspark.mx"),
    }.items():
        if place.startswith(folder):
            crossing = [name for name in imports(tree) if name.startswith(others)]
            assert not crossing, f"{place} imports {crossing}; they meet only through a child process"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_environment_is_read_at_the_edges(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    if place.startswith(READS_ENVIRONMENT):
        return
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if ast.unparse(node) in ("os.environ", "os.getenv")
    ]
    assert not reads, f"{place} reads the environment on lines {reads}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_budgets(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300, "a module has at most 300 lines"
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno >= 50
    }
    assert not long, f"functions of 50 lines or more: {long}"


@pytest.mark.parametrize(
    "statement",
    [
        "import mxspark",
        "from mxspark import errors, result; from mxspark.data import plan; from mxspark.protocol import codec, events",
    ],
)
def test_importing_loads_none_of_the_big_libraries(statement: str) -> None:
    code = (
        f"{statement}; import sys; print([m for m in ('pyspark', 'mxnet', 'pydantic', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_surface() -> None:
    assert sorted(mxspark.__all__) == [
        "ClusterError", "ConfigError", "DataError", "InputError", "InternalError", "JobConfig", "JobDirError",
        "MXSparkError", "Model", "NoProgress", "NotStarted", "Result", "RoleDied", "TrainingCodeError",
        "__version__", "train",
    ]  # fmt: skip
    assert all(getattr(mxspark, name) is not None for name in mxspark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = mxspark.trian
