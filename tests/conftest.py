"""Shared by every tier: markers by folder, and a check that a test leaves nothing running."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from class_data import spark_submit_options
from hypothesis import HealthCheck
from leftovers import dead_sockets, roles_alive

TIERS = ("core", "process", "mx", "spark", "cluster")
ROOT = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_configure(config: pytest.Config) -> None:
    """Give this test run a temporary folder, by which its processes are known (`leftovers`), and patience."""
    hypothesis.settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy machine")
    folder = tempfile.mkdtemp(prefix="mxspark-tests-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier, run quick tiers first, and leave long tests out unless asked."""
    for item in items:
        tier = item.path.relative_to(ROOT).parts[0]
        if tier in TIERS:
            item.add_marker(getattr(pytest.mark, tier))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long; run with --long"))
    items.sort(key=lambda item: TIERS.index(item.path.relative_to(ROOT).parts[0]))


@pytest.fixture(autouse=True, scope="session")
def quick_spark(request: pytest.FixtureRequest) -> None:
    """Let every JVM of Spark's start quickly, where a test of this run starts one."""
    tiers = {item.path.relative_to(ROOT).parts[0] for item in request.session.items}
    if tiers & {"spark", "cluster"} and "SPARK_SUBMIT_OPTS" not in os.environ:
        os.environ["SPARK_SUBMIT_OPTS"] = spark_submit_options()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test an environment without MXNet's and our own variables."""
    for name in list(os.environ):
        if name.startswith(("DMLC_", "PS_", "MXNET_", "MXSPARK_")) or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail the test if it leaves a role, an agent or a socket behind."""
    sockets = dead_sockets()
    processes = set(roles_alive())
    yield
    assert set(roles_alive()) <= processes, "role processes were left behind"
    assert dead_sockets() <= sockets, "sockets were left behind"
