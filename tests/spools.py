"""Spooled partitions for tests that have no Spark: written as its tasks do, and read back."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from mxspark.data import spool_facts
from mxspark.data.label_content import content_of
from mxspark.data.row_layout import RowLayout
from mxspark.data.rows import RowBlock
from mxspark.data.spool import ColumnSpec, Spool, SpooledArray, SpoolReady
from mxspark.data.spool_facts import PartFacts
from mxspark.data.spool_file import FACTS, SpoolFile
from mxspark.data.spool_writer import PartitionWriter
from mxspark.data.survey import Survey

Array = np.ndarray[Any, np.dtype[Any]]


def write(
    folder: Path,
    parts: Sequence[Iterable[RowBlock]],
    features: Sequence[ColumnSpec],
    labels: Sequence[ColumnSpec] = (),
) -> Survey:
    """Spool the blocks of each partition."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = []
    for partition, blocks in enumerate(parts):
        with SpoolFile(folder) as file:
            writer = PartitionWriter(file, features, labels)
            for block in blocks:
                writer.add(block.cells, block.rows, block.bad)
            facts = writer.finish().to_bytes()
            at = (file.add_facts(facts), len(facts))
        ready.append(SpoolReady("here", partition, writer.rows, str(file.path), writer.first, at))
    return Survey.of(ready, (*features, *labels))


def write_arrays(folder: Path, parts: Sequence[Mapping[str, Array]], labels: Sequence[str] = ()) -> Spool:
    """Spool arrays as they are, whatever numbers they hold; of labels is known what the loss asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = []
    for partition, arrays in enumerate(parts):
        rows = len(next(iter(arrays.values())))
        facts = tuple(_known(name, array, name in labels) for name, array in arrays.items())
        layout = RowLayout.of(facts)
        records = np.empty((rows, layout.row_bytes), dtype=np.uint8)
        for name, array in arrays.items():
            layout.view(records, name)[...] = array
        checksums = tuple(zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in arrays.values())
        told = PartFacts(facts, checksums).to_bytes()
        with SpoolFile(folder) as file:
            file.begin(layout.row_bytes)
            file.write(records.reshape(-1).data)
            at = (file.add_facts(told), len(told))
        ready.append(SpoolReady("here", partition, rows, str(file.path), file.start // layout.row_bytes, at))
    specs = [ColumnSpec(name, (name,), array.shape[1:], array.dtype.name) for name, array in parts[0].items()]
    return Survey.of(ready, specs).spool(folder / "table")


def _known(name: str, array: Array, is_label: bool) -> SpooledArray:
    content = content_of(array.reshape(len(array), -1)) if is_label and len(array) else None
    return SpooledArray(name, array.dtype.name, array.shape[1:], _float(array, "min"), _float(array, "max"), content)


def _float(array: Array, which: str) -> Optional[float]:
    return float(getattr(array, which)()) if array.size else None


def read(survey: Survey, name: str) -> list[Array]:
    """Read one array of every partition back, and hold it against what was said of it."""
    found = []
    specs = [ColumnSpec(array.name, (), array.shape, array.dtype) for array in survey.arrays]
    place = [array.name for array in survey.arrays].index(name)
    for part, checksums in zip(survey.ready, survey.checksums):
        start, size = part.facts
        head, table = spool_facts.parts(Path(part.path).with_suffix(FACTS).read_bytes()[start : start + size])
        arrays = spool_facts.arrays(specs, spool_facts.shapes(head), table)
        said = arrays[place]
        if part.rows:
            layout = RowLayout.of(arrays)
            data = np.fromfile(part.path, np.uint8, part.rows * layout.row_bytes, offset=part.first * layout.row_bytes)
            array = layout.view(data.reshape(part.rows, layout.row_bytes), name)
            assert (said.minimum, said.maximum) == (array.min(), array.max())
        else:
            array = np.empty((0,), dtype=said.dtype)
            assert said.minimum is None and said.maximum is None
        assert zlib.crc32(np.ascontiguousarray(array).tobytes()) == checksums[place]
        found.append(array)
    return found


def whole(survey: Survey, name: str) -> list[Any]:
    """Return all rows of an array, in order of partition and offset."""
    return [row for array in read(survey, name) for row in array.tolist()]
