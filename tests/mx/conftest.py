"""MXNet is imported the product's way, before any test module of this tier asks for it."""

from __future__ import annotations

from mxspark.mx.runtime.importing import import_mxnet

import_mxnet()
