"""One small Spark session for the whole tier, and what a run gives that nobody disturbs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession
from sessions import the_session
from spark.drivers import LIMIT_S, OFTEN, inside, model


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of this process."""
    with the_session(tmp_path_factory.mktemp("spark")) as session:
        yield session


@pytest.fixture(scope="session")
def undisturbed(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """What the digits job gives when nothing happens."""
    with inside(tmp_path_factory.mktemp("undisturbed"), "none", checkpoint=OFTEN) as run:
        assert run.popen.wait(LIMIT_S) == 0, run.log
        yield model(run.folder), run.outcome()
