"""``job.yaml`` beside this file documents every key of a job, with its default; it goes with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

_FILE = "job.yaml"
_IN_A_CHECKOUT = Path(__file__).resolve().parents[2] / "conf" / _FILE


def text() -> str:
    """Return the file; the package may lie in an archive."""
    return (resources.files("mxspark.config") / _FILE).read_text("utf-8")


def shown_by() -> str:
    """Return where a user finds it: in a checkout under a short name there, elsewhere by a command."""
    if not _IN_A_CHECKOUT.exists():
        return "'python -m mxspark config'"
    return f"conf/{_FILE}" if Path.cwd() == _IN_A_CHECKOUT.parents[1] else str(_IN_A_CHECKOUT)
