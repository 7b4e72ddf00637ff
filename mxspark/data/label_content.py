"""What a block of labels holds: whole numbers, zeros, sums of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxspark.data.spool import Content

if TYPE_CHECKING:
    from numpy.typing import NDArray


def content_of(block: NDArray[Any]) -> Optional[Content]:
    """Describe rows, shape (rows, width), as the network will see them; None without one."""
    if not block.size:
        return None
    is_whole = block.dtype.kind != "f" or bool((np.rint(block) == block).all())
    sums = block.sum(axis=1, dtype=np.float64)
    return Content(is_whole, not block.all(), (float(sums.min()), float(sums.max())))
