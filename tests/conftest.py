"""Shared by every tier: markers by folder, and a check that a test leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import parallel
import pytest
from class_data import spark_submit_options
from hypothesis import HealthCheck
from leftovers import dead_sockets, end_all, roles_alive, sockets_left

_UNITS = "units"  # of `parallel`: the name of what workers are told by it


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_configure(config: pytest.Config) -> None:
    """Give this test run a temporary folder, by which its processes are known (`leftovers`), and patience.

    Each worker of pytest-xdist is a test run of its own.
    """
    hypothesis.settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("busy machine")
    folder = tempfile.mkdtemp(prefix="mxspark-tests-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Answer ``-n auto``."""
    return parallel.workers(config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Let nothing of the workers outlive this process, nor a SIGTERM: whoever cancels a build sends one."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.add_cleanup(lambda: [print("ended what was left:", each) for each in end_all(os.environ["TMPDIR"])])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where it says what stays together."""
    node.workerinput[_UNITS] = str(_units_file())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests as `parallel` says."""
    return parallel.scheduler(config, log, _units_file())


def _units_file() -> Path:
    return Path(os.environ["TMPDIR"], "units.json")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier, run quick tiers first, and leave long tests out unless asked."""
    for item in items:
        tier = parallel.tier_of(item)
        if tier in parallel.TIERS:
            item.add_marker(getattr(pytest.mark, tier))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long; run with --long"))
    worker = getattr(config, "workerinput", None)
    units = parallel.sort(items, at_a_time=worker is not None)
    if worker is not None and worker["workerid"] == "gw0":
        Path(worker[_UNITS]).write_text(json.dumps(units))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let every JVM of Spark's start quickly: before any fixture, and only where a test may start one."""
    if parallel.tier_of(item) in ("spark", "cluster") and "SPARK_SUBMIT_OPTS" not in os.environ:
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
    assert not sockets_left(sockets), "sockets were left behind"
