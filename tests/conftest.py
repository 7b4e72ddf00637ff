"""Shared by every tier: markers by folder, and a check that a test leaves nothing running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

TIERS = ("core", "process", "mx", "spark", "cluster")
ROOT = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier, run quick tiers first, and leave long tests out unless asked."""
    for item in items:
        tier = item.path.relative_to(ROOT).parts[0]
        if tier in TIERS:
            item.add_marker(getattr(pytest.mark, tier))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long; run with --long"))
    items.sort(key=lambda item: TIERS.index(item.path.relative_to(ROOT).parts[0]))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test an environment without MXNet's and our own variables."""
    for name in list(os.environ):
        if name.startswith(("DMLC_", "PS_", "MXNET_", "MXSPARK_")) or name == "PORT":
            monkeypatch.delenv(name)


def roles_alive() -> list[int]:
    """Return the pids of agents and roles that this test process is answerable for, by what the system says of them.

    Those are its descendants and the orphans; another test run beside this one is none of ours.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = process.cmdline()
            ours = any("mxspark.agent" in word for word in words) or "MXSPARK_RUN" in process.environ()
            lineage = [parent.pid for parent in process.parents()]
        except psutil.Error:
            continue
        if ours and (os.getpid() in lineage or lineage[:1] == [1]):
            found.append(process.pid)
    return found


def role_sockets() -> set[str]:
    """Return the ps-lite sockets in /tmp: plain numbers."""
    return {entry.name for entry in os.scandir("/tmp") if entry.name.isdigit()}


def dead_sockets() -> set[str]:
    """Return those that nobody listens on any more."""
    bound = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return {name for name in role_sockets() if f"/tmp/{name}" not in bound}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail the test if it leaves a role, an agent or a socket behind."""
    sockets = dead_sockets()
    processes = set(roles_alive())
    yield
    assert set(roles_alive()) <= processes, "role processes were left behind"
    assert dead_sockets() <= sockets, "sockets were left behind"
