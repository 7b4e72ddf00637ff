"""The commit protocol as a model, in memory: a fault or a take-over at every write, old owners that wake up."""

from __future__ import annotations

from commit_machine import Commits
from hypothesis import HealthCheck, settings

from mxspark.storage.base import Storage
from mxspark.storage.memory import InMemoryStorage


class InMemory(Commits):
    def inner(self) -> tuple[Storage, str]:
        return InMemoryStorage(), "/job"


TestCommits = InMemory.TestCase
TestCommits.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
