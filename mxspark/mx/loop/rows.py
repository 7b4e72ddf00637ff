"""The rows of a job that one rank trains or validates on."""

from __future__ import annotations

from mxspark.data.dataset import DataSet
from mxspark.data.reader import Reader
from mxspark.errors import DataError
from mxspark.job.spec import WorkerSpec
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatches


def open_rows(spec: WorkerSpec, exchange: Exchange, data: DataSet) -> GluonBatches:
    """Map the rows of this rank.

    Raises
    ------
    DataError
        If none of all ranks' rows counts: those that were drawn for `data` may all have weight 0.
    """
    share = (exchange.rank, exchange.size)
    reader = Reader(data, spec.features, spec.labels, *share, mapped_bytes=spec.mapped_bytes, weighing=spec.weighing)
    if reader.is_weightless():
        rows = "training" if data is spec.training_data else "validation"
        raise DataError(
            f"the weight of every {rows} row is 0, so that none counts; correct data.weight or "
            "training.class_weights, or change data.validation.fraction, which draws the rows"
        )
    return GluonBatches(reader)
