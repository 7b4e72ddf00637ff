"""Ids that a network looks up, held against its tables before the first step.

What the ids are is told by the part of the graph that makes them, run over the rows: whatever a network slices, shifts
or clips is then what it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import mxnet as mx
import numpy as np

from mxspark.data.dataset import DataSet
from mxspark.data.reader import Array, SpooledRows
from mxspark.errors import DataError
from mxspark.job.spec import WorkerSpec
from mxspark.mx.model.id_graphs import graphs
from mxspark.mx.model.lookups import Lookup, Range, Traced
from mxspark.mx.model.network import Network, extremes, is_whole

GetOn = Callable[[int, int], None]

_CHUNK_BYTES = 16 << 20
_FLOAT32 = 2**24
"""Up to here it holds every whole number, so that no wide cast makes another of one."""
#: Operators by which an id may hold the place of its row in the batch, so that its table is one of a batch.
_BY_PLACE = {"_contrib_arange_like", "_contrib_index_array", "shape_array", "size_array"}


@dataclass(frozen=True)
class Seen:
    """Extremes of some ids, whether all are whole numbers, and whether no cast has made others of them."""

    low: float = math.inf
    high: float = -math.inf
    is_whole: bool = True
    is_same: bool = True

    def with_(self, ids: Array, *casts: Array) -> Seen:
        """Take in more ids, any shape, and what each cast on their way has taken and given."""
        is_whole = all(map(_is_whole, (ids, *casts[::2])))
        is_same = all(bool((before == after).all()) for before, after in zip(casts[::2], casts[1::2]))
        low, high = min(self.low, ids.min().item()), max(self.high, ids.max().item())
        return Seen(low, high, self.is_whole and is_whole, self.is_same and is_same)

    def fits(self, allowed: Range) -> bool:
        """Tell whether all are in the table."""
        return self.is_whole and self.is_same and self.low >= allowed[0] and self.high <= allowed[1]

    def __str__(self) -> str:
        if not self.is_whole:
            return f"from {self.low:g} to {self.high:g}, not all of them whole"
        others = "" if self.is_same else ", others than before a cast"
        return f"from {self.low:,.0f} to {self.high:,.0f}{others}"


def _is_whole(numbers: Array) -> bool:
    return numbers.dtype.kind != "f" or bool((np.rint(numbers) == numbers).all())


def check(network: Network, spec: WorkerSpec, rank: int, size: int, get_on: GetOn) -> None:
    """Refuse rows whose ids are not in the tables they are looked up in.

    Each rank looks at its share of the rows, and at all of them once it has found one; `get_on` is told how many of
    how many it has looked at.

    Raises
    ------
    DataError
        Naming the column, the ids, and the table.
    """
    for traced in graphs(network, spec):
        lookups = list(traced.lookups())
        for lookup in lookups:
            _refuse_scaled(traced, lookup, spec)
        for data in data_sets(spec):
            _check_some(_Rows(traced, data, spec.mapped_bytes, get_on), lookups, rank, size)


def _refuse_scaled(traced: Traced, lookup: Lookup, spec: WorkerSpec) -> None:
    """Refuse a scale on ids that are looked up as they are: those in the table would be taken for others."""
    if not lookup.is_kept or lookup.kind.noun != "ids":  # a length may be a share of the whole
        return
    for column in (traced.columns[name] for name in lookup.inputs):
        if column.scale != 1.0:
            key = f"data.{'label' if column in spec.labels else 'features'}.{column.name}.scale"
            raise DataError(
                f"{key} is {column.scale:g}, but {lookup.name} of {traced.owner} looks up {column.name!r} as it is, "
                "and a scale makes other ids of them: remove it, and scale in the network what is no id"
            )


def data_sets(spec: WorkerSpec) -> Iterator[DataSet]:
    """Yield the rows there are; a share of the same for validation is looked at once."""
    yield spec.training_data
    if spec.validation_data is not None and spec.validation_data.spool != spec.training_data.spool:
        yield spec.validation_data


@dataclass(frozen=True)
class _Rows:
    """Rows, and the graph they go through."""

    traced: Traced
    data: DataSet
    mapped_bytes: Optional[int]
    get_on: GetOn

    def look(self, lookups: Sequence[Lookup], rows: range) -> list[Seen]:
        """Return what the ids of some rows are, one `Seen` a lookup."""
        traced, seen = self.traced, [Seen() for _ in lookups]
        names = sorted({name for lookup in lookups for name in lookup.inputs})
        columns = [traced.columns[name].name for name in names]
        spooled = SpooledRows(self.data, columns, self.mapped_bytes)
        ids = traced.part([head for lookup in lookups for head in lookup.heads])
        run = mx.nd.CachedOp(ids)
        done = 0
        for chunk in _chunks(rows, _rows_at_a_time(traced, ids, names, len(rows))):
            arrays = spooled.gather(chunk, columns)
            inputs = {name: arrays[column] for name, column in zip(names, columns)}
            fed = {name: mx.nd.array(array, dtype=array.dtype) for name, array in inputs.items()}
            found = run(*({**traced.constants, **fed}[name] for name in ids.list_inputs()))
            outputs = iter(found if isinstance(found, list) else [found])
            seen = [
                before.with_(*(next(outputs).asnumpy() for _ in lookup.heads)) for before, lookup in zip(seen, lookups)
            ]
            done += len(chunk)
            self.get_on(min(done, len(rows)), len(rows))
        return seen


def _check_some(rows: _Rows, lookups: Sequence[Lookup], rank: int, size: int) -> None:
    traced, total = rows.traced, rows.data.plan.rows_in_all
    lookups = [lookup for lookup in lookups if not _is_told_by_extremes(traced, lookup, rows.data)]
    if not lookups:
        return
    share = range(total * rank // size, total * (rank + 1) // size)
    for lookup, seen in zip(lookups, rows.look(lookups, share)):
        if not seen.fits(lookup.allowed):
            _refuse(traced, lookup, *rows.look([lookup], range(total)))


def _is_told_by_extremes(traced: Traced, lookup: Lookup, data: DataSet) -> bool:
    """Tell whether what is known of the columns suffices to know that all ids are in the table."""
    first, last = lookup.allowed
    if not lookup.is_kept or (lookup.casts and last > _FLOAT32):
        return False
    for column in (traced.columns[name] for name in lookup.inputs):
        low, high = extremes(data, column.name)
        is_inside = low is not None and high is not None and first <= low and high <= last
        if not (is_inside and is_whole(data, column)):
            return False
    return True


def _chunks(rows: range, size: int) -> Iterator[Array]:
    """Yield row ids, so many at a time; the last goes round, as a graph may be for one number of rows."""
    for start in range(0, len(rows), size):
        yield rows.start + (start + np.arange(size, dtype=np.int64)) % len(rows)


def _rows_at_a_time(traced: Traced, ids: mx.sym.Symbol, names: Sequence[str], rows: int) -> int:
    """Return a large multiple of a batch's rows; those of a batch where the graph takes or means no other number."""
    batch = traced.shapes[names[0]][0]
    if _BY_PLACE & {node["op"] for node in json.loads(ids.tojson())["nodes"]}:
        return batch
    row_bytes = sum(8 * math.prod(traced.shapes[name][1:]) for name in names)
    many = batch * max(1, min(_CHUNK_BYTES // (batch * row_bytes), -(-rows // batch)))
    shapes = {name: traced.shapes[name] for name in ids.list_arguments()}
    try:
        ids.infer_shape(**{**shapes, **{name: (many, *traced.shapes[name][1:]) for name in names}})
    except mx.MXNetError:
        return batch
    return many


def _refuse(traced: Traced, lookup: Lookup, seen: Seen) -> None:
    names = ", ".join(repr(traced.columns[name].name) for name in lookup.inputs)
    first, last = lookup.allowed
    takes = f"takes {first} to {last}" if math.isfinite(last) else f"takes whole numbers from {first} on"
    noun = lookup.kind.noun
    raise DataError(
        f"{noun} from {names} are {seen}, but {lookup.name} of {traced.owner} {takes}, and MXNet would take others for "
        f"them without a word: mend the {noun}{''.join(f', or {way}' for way in _ways_out(lookup, seen))}"
    )


def _ways_out(lookup: Lookup, seen: Seen) -> Iterator[str]:
    """Yield what else than mending the ids may be meant, as what to write."""
    first, noun = lookup.allowed[0], lookup.kind.noun
    if not seen.is_whole:
        yield f"take F.floor({noun}) where that is meant"
    elif not seen.is_same:
        yield "cast to int32, or to int64, in place of a type that does not hold them"
    elif seen.low < first:
        yield (
            f"where those below {first} stand for none, take F.maximum({noun}, {first}) and multiply what comes of "
            f"it by {noun} >= {first}"
        )
    elif lookup.kind.widen:
        yield f"give it {lookup.kind.widen}={seen.high + 1:.0f}"
