"""Who may import what: code is sorted by the process it runs in, and this holds it."""

from __future__ import annotations

import ast
import graphlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mxspark

PACKAGE = Path(mxspark.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# Which package may import which, beside itself: any import, deferred and under TYPE_CHECKING too.
PLAIN = ("errors", "system", "protocol")
LAYERS: dict[str, tuple[str, ...]] = {
    "version": (),
    "errors": (),
    "system": (),
    "protocol": ("errors", "system"),
    "storage": ("errors",),
    "data": ("errors", "protocol"),
    "topology": ("protocol", "system"),
    "link": PLAIN,
    "job": ("data", "protocol", "errors"),
    "config": ("job", "data", "topology", "errors"),
    "check": ("topology", "version", *PLAIN),
    "agent": ("topology", *PLAIN),
    "mx": ("job", "data", "check", "version", *PLAIN),
    "model": ("storage", "mx", "data", "errors"),
    "result": ("model", "protocol", "errors"),
    "jobdir": ("storage", "job", "model", "result", *PLAIN),
    "report": ("result", "check", *PLAIN),
    "spark": ("agent", "check", "config", "data", "job", "jobdir", "report", "result", "storage", "topology", *PLAIN),
    "cli": ("check", "config", "jobdir", "report", "result", "spark", "topology", "version", *PLAIN),
    # the launcher needs a JVM to look at HDFS, and Spark's is the one there is
    # and reads the job file as the job does
    "launch": ("report", "result", "jobdir", "spark.hadoop", "config.yaml12", *PLAIN),
}
# What each of the big libraries is used by.
THIRD = {
    "pyspark": ("spark",),
    "py4j": ("spark",),
    "mxnet": ("mx",),
    "numpy": ("data", "mx", "spark"),
    "pyarrow": ("data", "spark"),
    "pydantic": ("config",),
    "yaml": ("config",),
    "rich": ("report", "cli", "launch"),
    "cloudpickle": ("job",),
    "cryptography": ("link",),
}
# What may be imported only where, of the standard library (a folder ends in '/').
FENCES = {
    "subprocess": ("agent/", "launch/", "check/node.py"),
    "socket": (
        "protocol/",
        "system/",
        "agent/",
        "link/",
        "check/",
        "cli/janitor.py",
        "mx/exchange/peers.py",
        "launch/",
    ),
    "ssl": ("protocol/", "agent/", "link/", "launch/"),  # the launcher fetches the installer
    "pickle": ("job/spec.py",),
    "difflib": ("errors/spelling.py",),
}
# Entry points, the launcher and the line to it, and the modules that read the environment for the driver.
READS_ENVIRONMENT = (
    "agent/", "check/node.py", "cli/", "launch/", "protocol/launcher.py", "spark/session/session.py",
    "spark/session/local_folders.py", "spark/hadoop/client.py", "mx/worker.py", "mx/ps_role.py",
)  # fmt: skip


def module_of(path: Path) -> str:
    """Return the dotted name of a file below the package, "" for the package itself."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield every module a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def test_packages_are_layers() -> None:
    order = graphlib.TopologicalSorter(
        {place: [name.partition(".")[0] for name in below] for place, below in LAYERS.items()}
    )
    assert list(order.static_order()), "raises CycleError, which names the cycle"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_inside_their_layers(path: Path) -> None:
    place = module_of(path)
    package = place.partition(".")[0]
    for name in imports(ast.parse(path.read_text())):
        first, _, rest = name.partition(".")
        if first == "mxspark" and place not in ("", "__main__"):
            allowed = (package, *LAYERS[package])
            assert any(f"{rest}.".startswith(f"{one}.") for one in allowed), f"{place} imports {name}; it may {allowed}"
        elif first in THIRD:
            assert package in THIRD[first], f"{place} imports {name}; only {THIRD[first]} may"
        elif first in FENCES:
            file = str(path.relative_to(PACKAGE))
            assert file.startswith(FENCES[first]), f"{file} imports {name}; only {FENCES[first]} may"


def test_the_root_holds_only_what_users_hold() -> None:
    names = {path.name for path in PACKAGE.glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "version.py", "model.py", "result.py"}


def rows_of(title: str) -> list[list[str]]:
    """Return the cells of the table of docs/architecture.md whose head row begins with `title`."""
    lines = (PACKAGE.parent / "docs" / "architecture.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title)) + 2
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_table_of_the_house_is_the_one_that_is_held() -> None:
    stated = {
        package.strip("`"): tuple(filter(None, below.split(", "))) for _, package, _, below in rows_of("| floor |")
    }
    assert stated == {package: tuple(sorted(below)) for package, below in LAYERS.items()}
    libraries = {
        name: tuple(where.split(", ")) for names, where in rows_of("| library |") for name in names.split(", ")
    }
    assert libraries == {name: tuple(sorted(where)) for name, where in THIRD.items()}


def test_the_drawing_of_the_house_has_each_package_above_what_it_imports() -> None:
    floor_of = {package.strip("`"): int(floor) for floor, package, _, _ in rows_of("| floor |")}
    for package, below in LAYERS.items():
        assert all(floor_of[name.partition(".")[0]] < floor_of[package] for name in below), package
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    drawn = {int(line[:2]): set(line[2:].split()) for line in page.splitlines() if re.match(r" \d  +\w", line)}
    assert drawn == {floor: {name for name in floor_of if floor_of[name] == floor} for floor in set(floor_of.values())}


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


# What starts on a bare interpreter: an agent and a link, which must be up at once, and the half of the launcher that
# makes the environment and can lean on nothing in it.
BARE = ("mxspark.agent.__main__", "mxspark.link.__main__", "mxspark.launch.submit")


@pytest.mark.parametrize("module", BARE)
def test_what_starts_bare_needs_the_standard_library_alone(module: str) -> None:
    code = f"""
import importlib, json, sys, sysconfig
sys.path.insert(0, {str(PACKAGE.parent)!r})
importlib.import_module({module!r})
files = {{name: getattr(found, "__file__", None) for name, found in sys.modules.items() if name != "__main__"}}
print(json.dumps([files, [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]]))
"""
    # without site-packages and without what the environment says: an import of anything else fails there
    done = subprocess.run([sys.executable, "-ISc", code], capture_output=True, text=True, timeout=60, check=True)
    files, folders = json.loads(done.stdout)
    loaded = {name: Path(file).resolve() for name, file in files.items() if file is not None}
    ours = {name: path for name, path in loaded.items() if PACKAGE in path.parents}
    standard = [Path(folder).resolve() for folder in folders]
    strange = [name for name in loaded.keys() - ours if not any(folder in loaded[name].parents for folder in standard)]
    assert module in ours and not strange
    for name, path in ours.items():
        others = {one for one in imports(ast.parse(path.read_text())) if one.partition(".")[0] in THIRD}
        assert not others, f"{name} imports {others} later on"


@pytest.mark.skipif(sys.version_info < (3, 10), reason="does not know the names of its standard library")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_library_is_imported_that_the_table_does_not_name(path: Path) -> None:
    known = {"mxspark", *THIRD, *sys.stdlib_module_names}
    others = {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))} - known
    assert not others, f"{module_of(path)} imports {others}; name it in THIRD, with the packages that may"


def test_the_public_surface() -> None:
    assert sorted(mxspark.__all__) == [
        "ClusterError", "ConfigError", "DataError", "Diverged", "InputError", "InternalError", "JobConfig",
        "JobDirError", "JobDirRemoved", "MXSparkError", "Model", "NoProgress", "NotStarted", "OwnerLives", "Result",
        "RoleDied", "TakenOver", "TrainingCodeError", "__version__", "train",
    ]  # fmt: skip
    assert all(getattr(mxspark, name) is not None for name in mxspark.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = mxspark.trian
