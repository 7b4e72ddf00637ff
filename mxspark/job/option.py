"""What one option of a component of a job may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """One option of a component.

    Attributes
    ----------
    kind : str
        ``number``, ``integer``, ``boolean``, ``text`` or ``integers`` (a list).
    low, high, open : float, float, str
        Allowed range of a number; both ends belong to it unless `open` holds ``(`` or ``)``.
    choices : tuple of str
        Allowed texts.
    zero_is : str
        Why a whole number may not be 0, in words; empty if it may.
    """

    kind: str = "number"
    low: float = -math.inf
    high: float = math.inf
    open: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    zero_is: str = ""

    @property
    def wanted(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "text": "a text"}
        text = words.get(self.kind, "an increasing list of whole numbers")
        if self.zero_is:
            return f"{text} other than 0, which is {self.zero_is}"
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"{text} from {self.low:g} to {self.high:g}" + (" (not reaching it)" if ")" in self.open else "")
        if math.isfinite(self.low):
            return f"{text} {'above' if '(' in self.open else 'of at least'} {self.low:g}"
        return text

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is one this option can take."""
        if self.kind == "integers":
            return _is_increasing(value, self)
        if self.kind == "text":
            return isinstance(value, str) and value in self.choices
        if self.kind == "boolean":
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "integer" else (int, float)):
            return False
        if value == 0 and self.zero_is:
            return False
        above = value > self.low if "(" in self.open else value >= self.low
        below = value < self.high if ")" in self.open else value <= self.high
        return bool(math.isfinite(value) and above and below)


def _is_increasing(value: Any, option: Option) -> bool:
    if not isinstance(value, (list, tuple)) or not value:
        return False
    whole = all(isinstance(item, int) and not isinstance(item, bool) and item >= option.low for item in value)
    return whole and all(before < after for before, after in zip(value, value[1:]))
