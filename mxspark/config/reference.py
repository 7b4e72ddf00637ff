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
    """Return where a user finds it: in a checkout under a short name, elsewhere by a command."""
    return f"conf/{_FILE}" if _IN_A_CHECKOUT.exists() else "'python -m mxspark config'"
