"""Write ``digits.parquet``: the 1,797 handwritten digits that scikit-learn ships.

Run from the top of the checkout::

    ./submit.sh --exec-dev python examples/digits/make_digits.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits


def table() -> pa.Table:
    """Return the digits: ``pixels``, 64 float32 from 0 to 16 of an 8 x 8 image in row order, and ``digit``, int32."""
    digits = load_digits()
    pixels = digits.data.astype(np.float32)
    offsets = np.arange(0, pixels.size + 1, pixels.shape[1], dtype=np.int32)
    columns = {
        "pixels": pa.ListArray.from_arrays(pa.array(offsets), pa.array(pixels.reshape(-1))),
        "digit": pa.array(digits.target.astype(np.int32)),
    }
    return pa.table(columns)


if __name__ == "__main__":
    # no dates or names of files in it: the same versions write the same bytes
    pq.write_table(table(), Path(__file__).with_name("digits.parquet"), compression="zstd", version="2.6")
