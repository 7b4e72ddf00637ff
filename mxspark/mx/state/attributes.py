"""What changed in an object since it was made, as JSON: how optimizers and schedules resume without pickle."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mxspark.errors import TrainingCodeError

_SCALARS = (bool, int, float, str)
_PLAIN = {"list": list, "tuple": tuple, "dict": dict}


class Progress:
    """The attributes of `thing` that move while it works; constants stay with the configuration that made it.

    Parameters
    ----------
    thing : object
        Watched from now on; None or a plain function has no attributes to watch.
    label : str
        How messages call it.
    ignore : collection of str
        Attributes somebody else takes care of.
    """

    def __init__(self, thing: Any, label: str, ignore: Collection[str] = ()) -> None:
        self._thing = thing
        self._label = label
        self._ignore = frozenset(ignore)
        self._first = {key: _encode(value) for key, value in self._attributes().items() if _can_encode(value)}
        self._kept = {key: value for key, value in self._attributes().items() if key not in self._first}

    def changed(self) -> dict[str, Any]:
        """Return the attributes that differ from when they were first seen.

        Raises
        ------
        TrainingCodeError
            If one of them holds what JSON cannot.
        """
        now = self._attributes()
        for key, value in now.items():
            if not _can_encode(value) and (_is_mutable(value) or self._kept.get(key) is not value):
                raise TrainingCodeError(
                    f"{self._label} keeps a {type(value).__name__} in its attribute {key!r}, which a checkpoint cannot "
                    "hold: keep numbers, texts, lists and dicts of them, or turn checkpoints off"
                )
        encoded = {key: _encode(value) for key, value in now.items() if _can_encode(value)}
        return {key: value for key, value in encoded.items() if key not in self._first or self._first[key] != value}

    def restore(self, changed: dict[str, Any]) -> None:
        """Set the attributes :meth:`changed` gave."""
        for key, value in changed.items():
            setattr(self._thing, key, _decode(value))

    def _attributes(self) -> dict[str, Any]:
        return {key: value for key, value in getattr(self._thing, "__dict__", {}).items() if key not in self._ignore}


def _is_mutable(value: Any) -> bool:
    """Tell containers and arrays, which change in place; other objects are taken for constants."""
    return isinstance(value, (dict, list, tuple, set)) or hasattr(value, "__array__") or hasattr(value, "asnumpy")


def _can_encode(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, _SCALARS) and _can_encode(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_can_encode(item) for item in value)
    return value is None or type(value) in _SCALARS


def _encode(value: Any) -> Any:
    """Containers become ``[kind, items]``: JSON has no tuples and no whole numbers as keys."""
    if isinstance(value, dict):
        return ["dict", [[_encode(key), _encode(item)] for key, item in value.items()]]
    if isinstance(value, (list, tuple)):
        return ["list" if isinstance(value, list) else "tuple", [_encode(item) for item in value]]
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, items = value
    return _PLAIN[kind](_decode(item) if kind != "dict" else (_decode(item[0]), _decode(item[1])) for item in items)
