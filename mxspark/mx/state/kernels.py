"""Optimizers of MXNet's with other kernels: faster, and without a division of zero by zero.

Stock ``SGD`` always runs the aggregated kernel, several times slower on a CPU than the plain one, and stock ``Adamax``
divides zero by zero where a gradient has always been zero.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np


class PlainSGD(mx.optimizer.SGD):  # type: ignore[misc]
    """SGD with one plain kernel a parameter."""

    def __init__(self, **options: Any) -> None:
        super().__init__(lazy_update=False, **options)
        self.aggregate_num = 0  # MXNet's updater then hands over one parameter at a time

    def _update_impl(
        self, indices: int, weights: mx.nd.NDArray, grads: mx.nd.NDArray, states: Any, multi_precision: bool = False
    ) -> None:
        self._update_count(indices)  # before the rate is asked for: a schedule counts this update in
        options = {"lr": self._get_lr(indices), "wd": self._get_wd(indices), "rescale_grad": self.rescale_grad}
        if self.clip_gradient:  # None is unknown to the kernels, and 0 is off, as in stock SGD
            options["clip_gradient"] = self.clip_gradient
        momentum, master = states if multi_precision else (states, None)
        arrays = [array for array in (momentum, master) if array is not None]
        if momentum is not None:
            options["momentum"] = self.momentum
            kernel = mx.nd.mp_sgd_mom_update if multi_precision else mx.nd.sgd_mom_update
        else:
            kernel = mx.nd.mp_sgd_update if multi_precision else mx.nd.sgd_update
        kernel(weights, grads, *arrays, out=weights, **options)


class Adamax(mx.optimizer.Adamax):  # type: ignore[misc]
    """Adamax that leaves a weight alone whose gradient has always been zero; stock makes it NaN."""

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: Any) -> None:
        """Apply one update, in place."""
        self._update_count(index)
        lr = self._get_lr(index) / (1.0 - self.beta1 ** self._index_update_count[index])
        grad = grad * self.rescale_grad + self._get_wd(index) * weight
        if self.clip_gradient is not None:
            grad = mx.nd.clip(grad, -self.clip_gradient, self.clip_gradient)
        # In place all the way: `Updater.state` hands out these very arrays.
        mean, norm = state
        mean[:] *= self.beta1
        mean[:] += (1.0 - self.beta1) * grad
        norm[:] = mx.nd.maximum(self.beta2 * norm, mx.nd.abs(grad))
        # Where the gradient has always been zero so is the mean: any divisor will do that is not zero itself.
        weight[:] -= lr * mean / mx.nd.maximum(norm, float(np.finfo(norm.dtype).tiny))
