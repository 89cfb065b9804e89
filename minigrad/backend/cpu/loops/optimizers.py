"""Steps of optimisers, in one pass over each parameter; shared/optimizers.py has them on whole arrays."""

from __future__ import annotations

import math

import numpy as np

from .compile import f4, loop


@loop
def adam(param, grad, m, v, largest, keep, decay, rest1, beta2, rest2, change, eps):
    """A step of Adam or AdamW (with `largest`, of AMSGrad), in place.

    `keep` is the factor of decoupled weight decay, `decay` that of coupled decay.  `rest1` and `rest2` are 1 - beta1
    and 1 - beta2, computed in float64, since float32 would lose five digits.
    """
    for i in range(param.shape[0]):
        g = grad[i] + decay * param[i]
        m[i] += rest1 * (g - m[i])
        v[i] = beta2 * v[i] + rest2 * g * g
        top = v[i]
        if largest is not None:
            top = largest[i] = v[i] if v[i] > largest[i] or v[i] != v[i] else largest[i]
        param[i] = keep * param[i] - change * (m[i] / (np.sqrt(top) + eps))


def adam_step(xp, param, grad, m, v, largest=None, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    unbias = math.sqrt(1 - beta2**step)  # numerator and denominator of m̂ / (√v̂ + eps) are multiplied by this
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    change = lr * unbias / (1 - beta1**step)
    rests = f4(1 - beta1), f4(beta2), f4(1 - beta2)
    adam(param, grad, m, v, largest, f4(keep), f4(decay), *rests, f4(change), f4(eps * unbias))


@loop
def sgd(param, grad, velocity, lr, momentum, fresh, decay, nesterov):
    """A step of SGD, in place; `fresh` is the factor of the gradient in the velocity, 1 - dampening."""
    for i in range(param.shape[0]):
        g = grad[i] + decay * param[i]
        if velocity is None:
            param[i] -= lr * g
        else:
            velocity[i] = momentum * velocity[i] + fresh * g
            param[i] -= lr * (g + momentum * velocity[i] if nesterov else velocity[i])


def sgd_step(xp, param, grad, velocity, *, lr, momentum, dampening, weight_decay, nesterov, first):
    if first and velocity is not None:
        velocity[...] = 0  # it was allocated without values
    sgd(param, grad, velocity, f4(lr), f4(momentum), f4(1 if first else 1 - dampening), f4(weight_decay), nesterov)


table = {"amsgrad_step": adam_step, "adam_step": adam_step, "sgd_step": sgd_step}
