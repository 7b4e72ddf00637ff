"""What is shipped: the wheel, the locks, the data set."""

from __future__ import annotations

import configparser
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import mxspark

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "conf/locks"
PYTHONS = ("3.9", "3.10", "3.11", "3.12")


def pins(name: str) -> dict[str, str]:
    lines = [line.split("==") for line in (LOCKS / name).read_text().splitlines()]
    return {name: release for name, release in lines}


def requirements(*sections: tuple[str, str]) -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line for section, key in sections for line in config[section][key].splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "mxspark["))]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("dev", [False, True], ids=["run", "dev"])
def test_the_locks_keep_the_bounds(python: str, dev: bool) -> None:
    locked = pins(f"py{python}{'-dev' if dev else ''}.txt")
    extras = [("options.extras_require", "test"), ("options.extras_require", "dev")] if dev else []
    for wanted in requirements(("options", "install_requires"), *extras):
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python}):
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            assert wanted.specifier.contains(locked[name]), (
                f"{wanted} against {name}=={locked[name]}; run conf/locks/make"
            )


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tools_change_nothing_of_what_a_job_gets(python: str) -> None:
    run, dev = pins(f"py{python}.txt"), pins(f"py{python}-dev.txt")
    assert {name: dev.get(name) for name in run} == run


def test_locks_name_releases_and_nothing_else() -> None:
    for lock in LOCKS.glob("*.txt"):
        shape = r"uv==[\d.]+ --hash=sha256:[0-9a-f]{64}" if lock.name == "uv.txt" else r"[a-z0-9-]+==[0-9][0-9a-z.]*"
        assert all(re.fullmatch(shape, line) for line in lock.read_text().splitlines()), lock


@pytest.mark.parametrize(("python", "series"), [("3.9", "4.0"), ("3.11", "4.3"), ("3.12", "4.3")])
def test_each_python_gets_the_newest_pyspark_it_is_paired_with(python: str, series: str) -> None:
    assert pins(f"py{python}.txt")["pyspark"].startswith(series + ".")


@pytest.mark.skipif(Version(version("setuptools")) < Version("77"), reason="setup.cfg needs setuptools 77")
def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "mxspark", tree / "mxspark", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(tmp_path / f"mxspark-{mxspark.__version__}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        info = f"mxspark-{mxspark.__version__}.dist-info"
        assert "mxspark = mxspark.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
        metadata = wheel.read(f"{info}/METADATA").decode()
    files = {str(path.relative_to(tree)) for path in (tree / "mxspark").rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith(info)} == files
    assert {"mxspark/py.typed", "mxspark/config/job.yaml", "mxspark/spark/session/log4j2.properties"} <= files
    assert f"{info}/licenses/LICENSE" in names
    assert "Requires-Python: >=3.9,<3.13" in metadata.replace("<3.13,>=3.9", ">=3.9,<3.13")


def test_what_is_installed_prints_the_keys_and_says_how_to_see_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mxspark", tmp_path / "mxspark", ignore=shutil.ignore_patterns("__pycache__"))

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "mxspark", *arguments]
        environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
        return done.stdout + done.stderr

    assert said("config") == (ROOT / "conf/job.yaml").read_text()
    (tmp_path / "job.yaml").write_text("job: {name: a}")
    lines = " ".join(said("train", "--config", "job.yaml").split())
    assert "data: is missing; 'python -m mxspark config' shows what it holds" in lines


def test_the_digits_are_those_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    made = runpy.run_path(str(ROOT / "examples/digits/make_digits.py"))["table"]()
    assert made.num_rows == 1797
    assert pq.read_table(ROOT / "examples/digits/digits.parquet").equals(made)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout is needed")
def test_files_of_the_user_in_the_checkout_are_left_alone_and_all_of_ours_are_looked_at(tmp_path: Path) -> None:
    def git(*arguments: str) -> set[str]:
        return set(subprocess.check_output(["git", *arguments], cwd=ROOT, text=True, timeout=300).split())

    ours = git("ls-files", "*.py")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in (*ours, "mynet.py", "mine/mynet.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    ruff = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    shown = subprocess.check_output(ruff, cwd=tmp_path, text=True, timeout=300).splitlines()
    assert {str(Path(line).relative_to(tmp_path)) for line in shown if line.endswith(".py")} == ours
    assert not git("ls-files", "--cached", "--ignored", "--exclude-standard"), "a file of ours is hidden"
    users = {"mynet.py", "job.yaml", "result.json", "runs/x", "try.ipynb"}
    assert git("check-ignore", *users) == users
