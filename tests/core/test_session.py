"""What a Spark session is, and what cannot be done in it: without one."""

from __future__ import annotations

from typing import Any

import pytest

from mxspark.errors import ConfigError, InputError
from mxspark.spark.session import local_folders, session
from mxspark.spark.session.session import SessionFacts


def test_facts_are_read_of_a_session_that_no_gang_can_be_formed_in() -> None:
    class Connected:
        """What a Connect session looks like: no driver JVM behind it."""

    facts = session.facts(Connected())
    assert not facts.is_classic
    (problem,) = session.gang_problems(facts)
    assert type(problem) is InputError and "Spark Connect" in problem.message


def test_dynamic_allocation_is_a_fact_and_refused_for_a_gang_only() -> None:
    anything: Any = None
    assert session.gang_problems(SessionFacts(anything)) == []
    (problem,) = session.gang_problems(SessionFacts(anything, has_dynamic_allocation=True))
    assert type(problem) is ConfigError and "--conf spark.dynamicAllocation.enabled=false" in problem.message


def test_local_folders_of_spark_have_its_own_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    monkeypatch.setenv("LOCAL_DIRS", "/yarn/1,/yarn/2")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/temporary")
    assert local_folders.of_task() == ("/yarn/1", "/yarn/2")
    assert local_folders.of_driver("/a,/b") == ("/a", "/b"), "YARN's are those of a container"
    assert local_folders.of_driver() == ("/temporary",)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/c,,/d")
    assert local_folders.of_task() == local_folders.of_driver("/a") == ("/c", "/d")
