"""A module of the user's that is not there: where it was looked for, and which one was probably meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mxspark.config import modules

TESTS = str(Path(__file__).resolve().parents[1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_net.py").write_text("raise RuntimeError('looked at, not run')")
    (tmp_path / "nets/deep").mkdir(parents=True)
    (tmp_path / "nets/deep/resnet.py").touch()
    (tmp_path / "nets/__init__.py").touch()
    (tmp_path / "mynet.txt").touch()
    # without the folders of tests, which pytest adds as it comes by: they hold a yarn.py. One list in place of another:
    # syspath_prepend would put back what is in this one
    others = [entry for entry in sys.path if not entry.startswith(TESTS)]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path), *others])
    return tmp_path


@pytest.mark.parametrize("module", ["my_net", "nets.deep.resnet"])
def test_what_is_there_is_found_and_not_run(folder: Path, module: str) -> None:
    assert modules.find(module) is not None


@pytest.mark.parametrize(
    ("module", "meant"),
    [("mynet", "my_net"), ("net.deep.resnet", "nets.deep.resnet"), ("nets.deep.resnte", "nets.deep.resnet")],
)
def test_a_similar_name_is_suggested(folder: Path, module: str, meant: str) -> None:
    assert modules.find(module) is None
    assert modules.missing(module).endswith(f"; did you mean {meant!r}?")


@pytest.mark.parametrize("module", ["qqq", "qqq.qqq", "pyarow"])
def test_the_places_are_named_and_installed_modules_are_not_suggested(folder: Path, module: str) -> None:
    assert modules.find(module) is None
    assert modules.missing(module) == (
        f"there is no module {module!r} in the working directory, beside the job file of --config, in PYTHONPATH or "
        "--py-files, or among the installed packages; put it into one of these places"
    )


def test_a_package_that_needs_what_is_not_there_is_another_matter(folder: Path) -> None:
    (folder / "needy").mkdir()
    (folder / "needy/__init__.py").write_text("import not_there_at_all")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        modules.find("needy.net")
