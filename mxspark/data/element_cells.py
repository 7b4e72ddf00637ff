"""One cell of an RDD's element: a number or an array, as numpy, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxspark.data.convert import is_beyond_a_double

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSENT = object()
_NUMBERS = (int, float, np.number, np.bool_)
ABSENT_FIELD = ("type", "no field of that name")
# From here on a double does not hold every whole number.
_ALL_WHOLE = 2.0**53


def number(cell: Any) -> Any:
    """Return the cell as numeric array, or the kind and detail of its problem as tuple."""
    if cell is ABSENT or cell is ABSENT_FIELD:
        return cell
    if cell is None:
        return "null", "no value"
    to_array: Optional[Callable[[], Any]] = getattr(cell, "toArray", None)
    try:
        value = cell if to_array is None else to_array()
        if _is_masked(value):
            return "null", "masked, or masked inside"
        array = _of_numbers(_exactly(value, np.asarray(value)))
    except (ValueError, np.VisibleDeprecationWarning):  # lists of lists of unequal lengths
        return "ragged", "nested lists of unequal lengths"
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iuf":
        return array
    return _odd(cell, array)


def _is_masked(value: Any) -> bool:
    """Tell whether numbers are masked, of which numpy would take what lies below the mask."""
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ma.MaskedArray):
        return any(map(np.ma.is_masked, value))
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))  # type: ignore[no-untyped-call]


def _exactly(value: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array of a list as it is, or in a type that holds its numbers: beside fractions an id is rounded."""
    is_of_list = isinstance(value, (list, tuple)) and array.dtype.kind == "f" and array.size > 0
    if not is_of_list or not np.abs(array).max() >= _ALL_WHOLE:
        return array
    wide = np.asarray(value, dtype=np.longdouble)
    return array if (wide == array).all() else wide


def _of_numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as one of numbers, where they all are."""
    if array.dtype.kind != "O" or not array.ndim:
        return array
    parts = array.tolist()
    converted = _exactly(parts, np.array(parts))
    return converted if converted.dtype.kind in "biuf" else array


def _odd(cell: Any, array: NDArray[Any]) -> tuple[str, str]:
    if array.dtype.kind == "O" and array.ndim and any(part is None for part in array.reshape(-1)):
        return "null", "null inside"
    if isinstance(cell, int):
        return "type", "int beyond 64 bits"
    if array.ndim == 0 or (isinstance(cell, np.ndarray) and array.dtype.kind != "O"):
        return "type", f"numpy {array.dtype}" if isinstance(cell, np.ndarray) else _named(cell)
    odd = [part for part in (cell if array.dtype.kind != "O" else array.reshape(-1)) if not isinstance(part, _NUMBERS)]
    if odd and isinstance(odd[0], (list, np.ndarray)):
        return "ragged", "nested lists of unequal lengths"
    return "type", _named(odd[0], " inside") if odd else "int beyond 64 bits inside"


def _named(value: Any, where: str = "") -> str:
    remedy = "; give float(x)" if isinstance(value, (Decimal, Fraction)) else ""
    return f"{type(value).__name__}{where}{remedy}"


def stack(cells: list[NDArray[Any]], width: int) -> NDArray[Any]:
    """Return shape (rows,) where the first cell is a scalar, (rows, ...) of cells with axes, else (rows, width)."""
    if not cells:
        return np.empty((0, width), dtype=np.float64)
    if len({cell.dtype.kind for cell in cells}) > 1 and any(map(is_beyond_a_double, cells)):
        cells = [cell.astype(np.longdouble) for cell in cells]  # beside fractions an id would become another
    if cells[0].ndim > 1 and all(cell.shape == cells[0].shape for cell in cells):
        return np.stack(cells)
    flat: NDArray[Any] = np.stack([cell.reshape(-1) for cell in cells])
    return flat.reshape(-1) if cells[0].ndim == 0 else flat
