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
