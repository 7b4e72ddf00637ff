"""Which device each role computes on."""

from __future__ import annotations

from mxspark.protocol.specs import CPU, Device


def device_of(_role: str) -> Device:
    """Return the device of a role: the CPU of its host, as slots are given nothing else yet."""
    return CPU
