"""Terms: numbers that order the owners of a job dir, each given out once."""

from __future__ import annotations

import json
import re

from mxspark import values
from mxspark.errors import JobDirError
from mxspark.jobrecord import RunInfo
from mxspark.storage import Storage, join

TERM = re.compile(r"t(\d{6,})")
TERMS = "_terms"
_TRIES = 100
_LIMIT_BYTES = 1 << 16


def term_name(term: int) -> str:
    """Return the name of a term's file and folder."""
    return f"t{term:06d}"


def terms(storage: Storage, path: str) -> list[int]:
    """Return the terms of the job dir `path`, in no order."""
    matches = (TERM.fullmatch(entry.name) for entry in storage.list(join(path, TERMS)))
    return [int(match.group(1)) for match in matches if match]


def take_term(storage: Storage, path: str, run: RunInfo) -> int:
    """Make `run` the owner of the next term and return it; of several runs at once each gets its own."""
    content = json.dumps(values.encode(run), indent=1).encode()
    for _ in range(_TRIES):
        term = max(terms(storage, path), default=0) + 1
        try:
            storage.create(join(path, TERMS, term_name(term)), content)
        except FileExistsError:
            continue
        return term
    raise JobDirError(
        f"{_TRIES} terms of {path} in a row went to other runs: something starts this job over and over; stop it"
    )


def read_owner(storage: Storage, path: str, term: int) -> str:
    """Return in words who took a term."""
    try:
        content = json.loads(storage.read(join(path, TERMS, term_name(term)), _LIMIT_BYTES))
        return values.decode(RunInfo, content).describe()
    except (ValueError, FileNotFoundError):
        return "by a run that has not said who it is"
