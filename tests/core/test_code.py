"""What a module is told from another by: its own code, and that of the user's modules it imports."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from mxspark.config import modules
from mxspark.job import code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that modules are found in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def write(folder: Path, **texts: str) -> None:
    """Write modules by their names, ``__`` for a dot; one with others below it is a package."""
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"raise SystemExit  # nothing is run\n{text}\n")


def digests(module: str) -> dict[str, str]:
    return code.digests(module, modules.find(module))


def test_a_change_in_what_a_module_imports_is_told_by_its_name(folder: Path) -> None:
    write(
        folder,
        mlossa="def loss(o, l):\n    from mhelpa import f\n    return f(o - l)",
        mhelpa="import mdeepa",
        mdeepa="A = 1",
    )
    before = digests("mlossa")
    assert list(before) == ["mlossa", "mhelpa", "mdeepa"] and all(before.values())
    assert digests("mlossa") == before
    write(folder, mdeepa="A = 2")
    now = digests("mlossa")
    assert [name for name in before if before[name] != now[name]] == ["mdeepa"]
    assert not {"mlossa", "mhelpa", "mdeepa"} & sys.modules.keys()


def test_packages_count_with_what_an_import_of_theirs_runs(folder: Path) -> None:
    write(folder, mlossb="import mpackb.inner.last, mpackb.one as one")
    for name, text in {
        "__init__": "from . import two", "one": "from .two import f", "two": "", "three": "",
        "inner/__init__": "", "inner/last": "from ..two import f",
    }.items():  # fmt: skip
        path = folder / "mpackb" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise SystemExit\n{text}\n")
    assert set(digests("mlossb")) == {
        "mlossb", "mpackb", "mpackb.inner", "mpackb.inner.last", "mpackb.one", "mpackb.two",
    }  # fmt: skip


def test_only_the_users_own_modules_are_looked_at(folder: Path) -> None:
    write(
        folder,
        mlossc="import json, numpy as np, mxspark.errors, nowhere_at_all\nfrom ... import beyond\nimport mcircle",
        mcircle="import mlossc",
    )
    assert list(digests("mlossc")) == ["mlossc", "mcircle"]
    write(folder, py4j="A = 1")
    assert code.of_import("py4j") == {} and list(code.of_import("mcircle")) == ["mcircle", "mlossc"]
    assert Path(sysconfig.get_path("stdlib")).is_dir() and list(code.digests("json", modules.find("json"))) == ["json"]


def test_what_cannot_be_read_has_no_digest_and_there_is_an_end(folder: Path) -> None:
    write(folder, mlossd="import mbad", mbad="def (")
    assert digests("mlossd")["mbad"] == ""
    assert code.digests("nowhere", None) == {"nowhere": ""}
    write(folder, **{f"mmany{n}": f"import mmany{n + 1}" for n in range(code.MOST + 20)})
    assert len(digests("mmany0")) == code.MOST
