"""What a network says of its parameters: the same in two builds, and told where it is no default."""

from __future__ import annotations

import json
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon import nn

from mxspark.mx.model.factors import factors


class Own(mx.init.Initializer):
    """Has an option that is no JSON."""

    def __init__(self, value: Any) -> None:
        super().__init__(value=value)
        self.value = value


def build(init: Any = None, **changes: Any) -> gluon.HybridBlock:
    net = nn.HybridSequential()
    net.add(nn.Dense(2, in_units=3, weight_initializer=init), nn.BatchNorm(in_channels=2))
    for key, value in changes.items():
        setattr(net[0].weight, key, value)
    return net


def of(net: gluon.HybridBlock) -> dict[str, str]:
    return factors(net._collect_params_with_prefix())


def test_each_factor_is_told_by_its_parameter() -> None:
    usual = of(build())
    assert usual == of(build()) and not any(key.startswith("the network's 0.weight") for key in usual)
    assert json.loads(json.dumps(usual)) == usual
    changed = of(build(lr_mult=0, wd_mult=2.5, grad_req="null"))
    assert {key: said for key, said in changed.items() if key not in usual} == {
        "the network's 0.weight.lr_mult": "0",
        "the network's 0.weight.wd_mult": "2.5",
        "the network's 0.weight.grad_req": "null",
    }


def test_initializers_are_told_by_what_they_fill_in() -> None:
    def init(one: Any) -> str:
        return of(build(one))["the network's 0.weight.init"]

    assert init("ones") == "ones" and init(mx.init.Constant(7)) == '["constant", {"value": 7}]'
    big = np.arange(99.0)
    for one, same, other in (
        (mx.init.Constant(mx.nd.array(big)), mx.init.Constant(mx.nd.array(big)), mx.init.Constant(mx.nd.ones(99))),
        (Own(object()), Own(object()), mx.init.Constant(mx.nd.zeros(99))),
    ):
        assert init(one) == init(same) != init(other) and len(init(one)) < 100


def test_constants_have_no_initializer_of_their_own() -> None:
    def build() -> gluon.HybridBlock:
        net = nn.HybridSequential()
        net.mask = net.params.get_constant("mask", mx.nd.ones(3))
        return net

    assert of(build()) == of(build())
