"""A copy of this checkout, as another one that a user has."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NAMES = (
    "mxspark", "spark_jobs", "conf", "examples", "submit.sh", "setup.cfg", "pyproject.toml", "README.md", "LICENSE",
)  # fmt: skip


def copy(folder: Path) -> Path:
    """Copy what is run and installed of this checkout into a new folder; it has the installer of this one."""
    for name in _NAMES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def lend_installer(folder: Path) -> None:
    """Let a copy have the installer that this checkout has fetched."""
    (folder / ".mxspark").mkdir()
    for installer in (ROOT / ".mxspark").glob("uv-*"):
        (folder / ".mxspark" / installer.name).symlink_to(installer)
