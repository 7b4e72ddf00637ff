"""What a job says that may change from run to run, held against what the checkpoint it goes on from was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from mxspark.job import fixed
from mxspark.protocol import codec
from mxspark.protocol.events import EpochEnd

_OPTIONS = "options"
_FACTORS = "factors"
_LAST = "last_epoch"


class Since:
    """The options of a job, the factors of its network's parameters, and both as they were.

    Checkpoints of older versions do not say what is asked of them here; then nothing has changed.

    Parameters
    ----------
    options : mapping
        Of the job, as `options.of` returns them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._factors: Optional[dict[str, str]] = None  # a worker knows them, which has built the network
        self._before: Mapping[str, Any] = {}

    def resume(self, meta: Mapping[str, Any]) -> None:
        """Take what the checkpoint that is gone on from says beside its arrays."""
        self._before = meta

    @property
    def before(self) -> Mapping[str, Any]:
        """All that the checkpoint says that is gone on from; nothing where there is none."""
        return self._before

    def learn(self, factors: Mapping[str, str]) -> list[str]:
        """Take the factors of the network's parameters; return a line for each that differs, the first time alone."""
        is_known = self._factors is not None
        self._factors = dict(factors)
        return [] if is_known else self._of(_FACTORS, self._factors)

    def changes(self) -> list[str]:
        """Return a line for each option, and each factor that is known, that differs."""
        return self._of(_OPTIONS, self._options) + self._of(_FACTORS, self._factors)

    def _of(self, key: str, now: Optional[Mapping[str, Any]]) -> list[str]:
        before = self._before.get(key)
        return fixed.changes(before, now) if before is not None and now is not None else []

    def last(self) -> Optional[EpochEnd]:
        """Return the last epoch before that checkpoint, if it tells."""
        last = self._before.get(_LAST)
        return codec.decode(EpochEnd, last) if last is not None else None

    def meta(self, last: Optional[EpochEnd]) -> dict[str, Any]:
        """Return what is kept with a checkpoint for later runs, `last` being the newest epoch of this one, if any."""
        of_epoch = codec.encode(last) if last is not None else self._before.get(_LAST)
        return {_OPTIONS: self._options, _FACTORS: self._factors, _LAST: of_epoch}
