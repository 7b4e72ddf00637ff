"""What the documentation points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_and_pages_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for path, name in re.findall(r"`(?:tests/)?(\w+/test_\w+\.py)(?:::(\w+))?`", text):
        assert (ROOT / "tests" / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / "tests" / path).read_text(), f"{path}::{name}"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_examples_are_python_and_commands_are_those_of_a_checkout(page: Path) -> None:
    text = page.read_text()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.S), 1):
        compile(block, f"{page.name}, example {number}", "exec")
    in_an_environment_of_ones_own = r"```sh\n[^`]*\bpip install\b[^`]*```"
    text = re.sub(in_an_environment_of_ones_own, "", text)
    bare = re.findall(r"(?<!-m )(?<!--exec )\bmxspark (?:train|check|janitor)\b", text)
    assert not bare, "elsewhere there is only ./submit.sh"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_what_is_named_in_them_exist(page: Path) -> None:
    named = re.findall(r"`((?:\w+/)+\w+)\.(\w+)(?:\(\))?`", page.read_text())
    for module, name in ((module, name) for module, name in named if "/test_" not in module):
        if name in ("yaml", "md", "conf", "json", "jsonl", "params", "txt", "parquet"):
            continue
        file = ROOT / "mxspark" / f"{module}.py"
        assert file.is_file() or (ROOT / f"{module}.py").is_file(), f"{page.name} names {module}.py"
        assert name == "py" or re.search(rf"^(?:def |class |){name}\b", file.read_text(), re.M), (
            f"{page.name}: {module}.{name}"
        )
