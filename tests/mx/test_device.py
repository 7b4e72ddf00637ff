"""A worker computes on the device it was placed on."""

from __future__ import annotations

import mxnet as mx
import pytest

from mxspark.mx.runtime.device import context_of
from mxspark.protocol.specs import CPU, Device


@pytest.mark.parametrize("device", [CPU, Device("cpu", 1)], ids=["the CPU", "another one"])
def test_arrays_are_made_on_the_device_of_the_worker(device: Device) -> None:
    with context_of(device):
        made = mx.nd.zeros((2,))
    assert (made.context.device_type, made.context.device_id) == (device.kind, device.index)


def test_a_kind_of_device_that_mxnet_does_not_know_is_refused() -> None:
    with pytest.raises(KeyError, match="abacus"):
        context_of(Device("abacus"))
