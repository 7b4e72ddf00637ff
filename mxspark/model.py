"""A trained network in a folder, and how it gets to whoever wants it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from mxspark.storage.base import Storage
from mxspark.storage.local import LocalStorage


@dataclass(frozen=True)
class Model:
    """A trained network in a folder: ``model-symbol.json``, ``model-0000.params``, ``signature.json``.

    A handle is a path and a way to open the filesystem it is on; it can be copied and pickled, and used after the run
    that made it has ended, in another process too. What lies on Hadoop's filesystem needs a Spark session there, of
    whatever run; what lies on a local disk needs nothing.

    Attributes
    ----------
    path : str
        The folder, on the job dir's filesystem; one of this machine unless a run made the handle.

    Examples
    --------
    >>> net = Model("runs/digits/model").load()          # doctest: +SKIP
    """

    path: str
    _open: Callable[[], Storage] = field(default=LocalStorage, repr=False, compare=False)

    def fetch(self, folder: str) -> str:
        """Copy the files into a local `folder`, made if missing, in the place of those of the same names; return it."""
        storage = self._open()
        Path(folder).mkdir(parents=True, exist_ok=True)
        for entry in storage.list(self.path):
            # whoever reads the files there reads whole ones, and two who fetch at once do not meet
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as apart:
                storage.get(f"{self.path}/{entry.name}", Path(apart) / entry.name)
                (Path(apart) / entry.name).replace(Path(folder) / entry.name)
        return folder

    def load(self) -> Any:
        """Return the network as a ``gluon.SymbolBlock``; the one place where the driver process imports MXNet."""
        from mxspark.mx.runtime.importing import import_mxnet

        import_mxnet()
        from mxspark.mx.model.export import load_model

        with tempfile.TemporaryDirectory(prefix="mxspark-model-") as folder:
            return load_model(self.fetch(folder))
