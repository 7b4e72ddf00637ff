"""What MXNet calls the device that a worker was placed on."""

from __future__ import annotations

import mxnet as mx

from mxspark.protocol.specs import Device


def context_of(device: Device) -> mx.Context:
    """Return the context; inside a ``with`` of it, arrays and parameters are made there unless told otherwise."""
    return mx.Context(device.kind, device.index)
