"""How an application of YARN ended: asked of YARN, and of the outcome that its driver has left."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Optional

from mxspark.errors import ClusterError


@dataclass(frozen=True)
class End:
    """How a driver in the cluster ended.

    Attributes
    ----------
    outcome : dict or None
        What it left; None if it could not, or if that is not known.
    unknown : str
        Why something of the end is not known, and what to do; empty if all is.
    """

    outcome: Optional[dict[str, Any]] = None
    unknown: str = ""


@dataclass(frozen=True)
class Application:
    """One application of YARN's: the tag it is found by, and where a driver in the cluster leaves its outcome."""

    tag: str
    outcome: str = ""

    def finish(self, client: Any, is_stopped: bool) -> End:
        """Return how a driver in the cluster ended; after an interrupt end it first.

        What one of YARN and the filesystem does not tell is asked of the other.
        """
        of_yarn: list[str] = []
        of_outcome: list[str] = []
        if is_stopped:
            with _kept(of_yarn):
                for name in client.kill(self.tag):
                    print(f"mxspark: {name} was killed", file=sys.stderr)
        # after the kill: what is killed writes no outcome any more, and one that was there before it counts
        found = None
        with _kept(of_outcome):
            found = client.read(self.outcome)
            client.remove(self.outcome)
        if not of_yarn:
            with _kept(of_yarn):
                for name, state, words in client.applications(self.tag):
                    print(f"mxspark: {name} {state}; its logs: yarn logs -applicationId {name}", file=sys.stderr)
                    if found is None and words:
                        print(f"mxspark: YARN says: {words.splitlines()[0]}", file=sys.stderr)
        why = "; ".join([*of_outcome, *of_yarn])
        end = self.unknown(why) if of_yarn else End(None, why)
        return replace(end, outcome=dict(json.loads(found)) if found else None)

    def unknown(self, why: str) -> End:
        """Return the end of an application that YARN does not tell of."""
        look = f"yarn application -list -appStates ALL -appTags {self.tag}"
        return End(None, f"{why}; the application may still run: {look}")


@contextlib.contextmanager
def _kept(untold: list[str]) -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        untold.append(error.message)
