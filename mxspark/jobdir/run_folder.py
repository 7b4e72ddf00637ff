"""What a run leaves in the job dir when it ends, and what is there for its result to list.

The storage may be what the run ended for: whatever it answers here must not hide that.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.jobdir.layout import RUNS, JobDir
from mxspark.jobdir.record_file import MODELS
from mxspark.model import Model
from mxspark.protocol import codec
from mxspark.protocol.events import EpochEnd
from mxspark.result import Result, history_of
from mxspark.storage.base import Storage, join

_RESULT = "result.json"
_LIMIT_BYTES = 64 << 20
#: What ``failure.json`` holds of a result.
FAILURE = ("run_id", "message", "cause", "attempts", "remedy", "epochs", "steps", "checkpoint", "events")


def published_models(owned: JobDir) -> dict[str, Model]:
    """Return the published models by the names of their folders, none where the storage does not say."""
    try:
        names = {entry.name for entry in owned.storage.list(owned.path)}
    except (OSError, MXSparkError):
        return {}
    return {name: Model(f"{owned.path}/{name}", owned.storage.opener()) for name in MODELS if name in names}


def path_if_there(storage: Storage, path: Optional[str]) -> Optional[str]:
    """Return the path of what was published, None if the storage answers that it is not there any more."""
    try:
        return path if path is not None and storage.stat(path) is not None else None
    except (OSError, MXSparkError):
        return path


def write_logs(owned: JobDir, texts: Mapping[str, str], attempt: int, say: Callable[[str], None]) -> None:
    """Keep the logs of an attempt."""
    try:
        for name, text in texts.items():
            owned.write_run_file(f"{name}.log", text.encode())
    except (OSError, MXSparkError) as error:
        say(f"warning: logs of attempt {attempt} are not kept: {error}")


def write_outcome(owned: JobDir, journal: Path, result: Result, say: Callable[[str], None]) -> Result:
    """Write the events and the result into the run's folder, and return the result, with the events that are there."""
    try:
        if journal.stat().st_size:  # a run that found nothing to train has none, and nobody looks for an empty file
            result = dataclasses.replace(result, events=owned.put_run_file(journal, "events.jsonl"))
        owned.write_run_file(_RESULT, _json(result.to_dict()))
        if result.cause is not None:
            owned.write_run_file("failure.json", failure_json(result))
    except FileNotFoundError:
        say(f"warning: {owned.run_folder} is gone, and the events and logs of this run with it")
    except (OSError, MXSparkError) as error:
        say(f"warning: the run's folder is incomplete: {error}")
    return result


def read_history(owned: JobDir, run_id: str) -> tuple[EpochEnd, ...]:
    """Return the epochs of an earlier run, as its result has them; none where it has left no result."""
    try:
        left = json.loads(owned.storage.read(join(owned.path, RUNS, run_id, _RESULT), _LIMIT_BYTES))
        return history_of(left)
    except (OSError, MXSparkError, ValueError, KeyError, TypeError):
        return ()


@dataclass(frozen=True)
class End:
    """How an earlier run ended, as its result has it; `cause` is None of one that did not fail."""

    status: str
    message: str
    steps: int
    cause: Optional[Cause]


def read_end(owned: JobDir, run_id: str) -> Optional[End]:
    """Return how an earlier run ended; None where it has left no result, as one that was killed."""
    try:
        left = json.loads(owned.storage.read(join(owned.path, RUNS, run_id, _RESULT), _LIMIT_BYTES))
        cause = None if left["cause"] is None else codec.decode(Cause, left["cause"])
        return End(str(left["status"]), str(left["message"]), int(left["steps"]), cause)
    except (OSError, MXSparkError, ValueError, KeyError, TypeError):
        return None


def failure_json(result: Result) -> bytes:
    """Return what ``failure.json`` holds of a result."""
    plain = result.to_dict()
    return _json({key: plain[key] for key in FAILURE})


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()
