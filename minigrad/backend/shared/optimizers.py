"""Steps of optimisers, and what is done to all gradients at once, as they read on both libraries."""

from __future__ import annotations

import math


def adam_step(xp, param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One step of Adam (Kingma & Ba 2015, algorithm 1), or AdamW where the decay is decoupled.

    Writes into param, m and v.
    """
    if decoupled:
        param *= 1 - lr * weight_decay
    elif weight_decay:
        grad = grad + weight_decay * param
    change = xp.empty_like(param)
    xp.subtract(grad, m, out=change)
    change *= 1 - beta1
    m += change
    xp.multiply(grad, grad, out=change)
    change *= 1 - beta2
    v *= beta2
    v += change
    xp.sqrt(v, out=change)
    unbias = math.sqrt(1 - beta2**step)  # m̂ / (√v̂ + eps), both sides of the fraction times this
    change += eps * unbias
    xp.divide(m, change, out=change)
    change *= lr * unbias / (1 - beta1**step)
    param -= change


def sgd_step(xp, param, grad, velocity, *, lr, momentum, dampening, weight_decay, nesterov, first):
    """One step of stochastic gradient descent, with momentum where there is a velocity.

    Writes into param and velocity.
    """
    if weight_decay:
        grad = grad + weight_decay * param
    if velocity is not None:
        if first:
            velocity[...] = grad
        else:
            velocity *= momentum
            velocity += (1 - dampening) * grad if dampening else grad
        grad = grad + momentum * velocity if nesterov else velocity
    param -= lr * grad


def rmsprop_step(xp, param, grad, square, mean, velocity, *, lr, alpha, eps, weight_decay, momentum):
    """One step of RMSprop, centred where there is a mean, with momentum where there is a velocity.

    Writes into all but grad.
    """
    if weight_decay:
        grad = grad + weight_decay * param
    square *= alpha
    square += (1 - alpha) * (grad * grad)
    if mean is not None:
        mean += (1 - alpha) * (grad - mean)
    change = grad / (xp.sqrt(square if mean is None else square - mean * mean) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += change
        change = velocity
    param -= lr * change


def adagrad_step(xp, param, grad, total, *, lr, eps, weight_decay):
    """One step of Adagrad (Duchi et al. 2011); writes into param and total."""
    if weight_decay:
        grad = grad + weight_decay * param
    total += grad * grad
    param -= lr * (grad / (xp.sqrt(total) + eps))


def square_sums(xp, arrays):
    """Σ array² of each, in at least float32: 0-d arrays or scalars."""
    return [square_sum(xp, array) for array in arrays]


def square_sum(xp, array):
    flat = array.reshape(-1).astype(xp.result_type(array.dtype, xp.float32), copy=False)
    return flat @ flat


def scale(xp, arrays, factor):
    """Multiply each array by the factor, in place."""
    for array in arrays:
        array *= factor


def unscale(xp, grads, factor):
    """Multiply each array by the factor, in place.

    Returns whether all are finite: on a GPU an array, not waited for.
    """
    finite = True
    for grad in grads:
        grad *= factor
        finite = finite & xp.isfinite(grad).all()
    return finite


def for_each(step):
    """The step of one parameter as that of many: once for the arrays of each row."""

    def steps(xp, rows, **options):
        for arrays in rows:
            step(xp, *arrays, **options)

    return steps


STEPS = {  # of one parameter
    "adam_step": adam_step,
    "sgd_step": sgd_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
}
table = {
    **{name: for_each(step) for name, step in STEPS.items()},
    "square_sums": square_sums,
    "scale": scale,
    "unscale": unscale,
}
