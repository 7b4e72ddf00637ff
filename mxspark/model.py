"""A trained network in a folder, and how it gets to whoever wants it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mxspark.storage.base import Storage


@dataclass(frozen=True)
class Model:
    """A trained network in a folder: ``model-symbol.json``, ``model-0000.params``, ``signature.json``.

    Attributes
    ----------
    path : str
        The folder, on the job dir's filesystem.
    """

    path: str
    _storage: Storage = field(repr=False, compare=False)

    def fetch(self, folder: str) -> str:
        """Copy the files into a local `folder`, made if missing, and return it."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for entry in self._storage.list(self.path):
            self._storage.get(f"{self.path}/{entry.name}", Path(folder) / entry.name)
        return folder

    def load(self) -> Any:
        """Return the network as a ``gluon.SymbolBlock``; the one place where the driver process imports MXNet."""
        from mxspark.mx.runtime.importing import import_mxnet

        import_mxnet()
        from mxspark.mx.model.export import load_model

        with tempfile.TemporaryDirectory(prefix="mxspark-model-") as folder:
            return load_model(self.fetch(folder))
