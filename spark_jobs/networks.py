"""Networks to start from; name one in a job as ``training.network: spark_jobs.networks:lenet``.

MXNet is imported inside the functions: the driver looks a network up without loading it. Both bring their own initial
weights (normal, variance 2 / inputs, made for rectifiers), so ``training.initializer`` does not reach them.
"""

from __future__ import annotations

from typing import Any


def lenet(classes: int = 10) -> Any:
    """Return a small convolutional network for images of shape (channels, height, width), 8 x 8 and up."""
    from mxnet import init
    from mxnet.gluon import nn

    weights = init.MSRAPrelu("in", 0)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(32, kernel_size=3, padding=1, activation="relu", weight_initializer=weights),
        nn.Conv2D(64, kernel_size=3, padding=1, activation="relu", weight_initializer=weights),
        nn.MaxPool2D(pool_size=2, strides=2),
        nn.Flatten(),
        nn.Dense(128, activation="relu", weight_initializer=weights),
        nn.Dense(classes, weight_initializer=weights),
    )
    return net


def mlp(classes: int = 10) -> Any:
    """Return a network of two hidden layers for rows of any shape."""
    from mxnet import init
    from mxnet.gluon import nn

    weights = init.MSRAPrelu("in", 0)
    net = nn.HybridSequential()
    net.add(
        nn.Dense(128, activation="relu", weight_initializer=weights),
        nn.Dense(64, activation="relu", weight_initializer=weights),
        nn.Dense(classes, weight_initializer=weights),
    )
    return net
