"""Steps of optimisers, and what is done to all gradients at once, as they read on both libraries."""

from __future__ import annotations

import math


def adam_step(xp, param, grad, m, v, largest=None, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """One step of Adam (Kingma & Ba 2015, algorithm 1), or AdamW where the decay is decoupled.

    Writes into param, m and v, and `largest`, the largest v so far, which stands for v if it is given (AMSGrad).
    """
    grad = _decayed(param, grad, lr, weight_decay, decoupled)
    change = xp.empty_like(param)
    xp.subtract(grad, m, out=change)
    change *= 1 - beta1
    m += change
    xp.multiply(grad, grad, out=change)
    change *= 1 - beta2
    v *= beta2
    v += change
    xp.sqrt(v if largest is None else xp.maximum(largest, v, out=largest), out=change)
    unbias = math.sqrt(1 - beta2**step)  # m̂ / (√v̂ + eps), both sides of the fraction times this
    change += eps * unbias
    xp.divide(m, change, out=change)
    change *= lr * unbias / (1 - beta1**step)
    param -= change


def sgd_step(xp, param, grad, velocity, *, lr, momentum, dampening, weight_decay, nesterov, first):
    """One step of stochastic gradient descent, with momentum where there is a velocity.

    Writes into param and velocity.
    """
    grad = grad + weight_decay * param if weight_decay else grad
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
    grad = grad + weight_decay * param if weight_decay else grad
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
    grad = grad + weight_decay * param if weight_decay else grad
    total += grad * grad
    param -= lr * (grad / (xp.sqrt(total) + eps))


def nadam_step(xp, param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, unbias, of_grad, of_m):
    """One step of NAdam (Dozat 2016): Adam along of_grad · g + of_m · m, with v / unbias² its unbiased mean of g².

    Writes into param, m and v.
    """
    grad = _decayed(param, grad, lr, weight_decay, decoupled)
    _follow(m, grad, beta1)
    _follow(v, grad * grad, beta2)
    param -= lr * ((of_grad * grad + of_m * m) / (xp.sqrt(v) / unbias + eps))


def radam_step(xp, param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, rate, adaptive):
    """One step of RAdam (Liu et al. 2020, algorithm 2): rate · m, over √v once v has a variance (`adaptive`).

    Writes into param, m and v.
    """
    grad = _decayed(param, grad, lr, weight_decay, decoupled)
    _follow(m, grad, beta1)
    _follow(v, grad * grad, beta2)
    param -= rate * (m / (xp.sqrt(v) + eps) if adaptive else m)


def adamax_step(xp, param, grad, m, u, *, rate, beta1, beta2, eps, weight_decay):
    """One step of AdaMax (Kingma & Ba 2015, algorithm 2); writes into param, m and u, the decayed largest |g|."""
    grad = grad + weight_decay * param if weight_decay else grad
    _follow(m, grad, beta1)
    u *= beta2
    xp.maximum(u, xp.abs(grad) + eps, out=u)
    param -= rate * (m / u)


def adadelta_step(xp, param, grad, square, change_square, *, lr, rho, eps, weight_decay):
    """One step of Adadelta (Zeiler 2012, algorithm 1); writes into all but grad."""
    grad = grad + weight_decay * param if weight_decay else grad
    _follow(square, grad * grad, rho)
    change = grad * (xp.sqrt(change_square + eps) / xp.sqrt(square + eps))
    _follow(change_square, change * change, rho)
    param -= lr * change


def rprop_step(xp, param, grad, before, size, *, shrink, grow, smallest, largest):
    """One step of Rprop (Riedmiller & Braun 1993): each entry goes `size` against the sign of its gradient.

    Where the sign has turned, the entry waits for a step.  Writes into all but grad.
    """
    agreement = grad * before
    size *= xp.where(agreement > 0, grow, xp.where(agreement < 0, shrink, 1)).astype(size.dtype)
    xp.clip(size, smallest, largest, out=size)
    before[...] = xp.where(agreement < 0, 0, grad)
    param -= xp.sign(before) * size


def asgd_step(xp, param, grad, mean, *, rate, lambd, weight_decay, share):
    """One step of averaged SGD (Polyak & Juditsky 1992), whose mean takes `share` of each distance to the parameter."""
    grad = grad + weight_decay * param if weight_decay else grad
    param *= 1 - lambd * rate
    param -= rate * grad
    mean[...] = param if share == 1 else mean + (param - mean) * share


def lion_step(xp, param, grad, m, *, lr, beta1, beta2, weight_decay):
    """One step of Lion (Chen et al. 2023, algorithm 2); writes into param and m."""
    param *= 1 - lr * weight_decay
    param -= lr * xp.sign(beta1 * m + (1 - beta1) * grad)
    _follow(m, grad, beta2)


def adafactor_step(xp, param, grad, rows, columns, square, *, lr, new, eps1, eps2, d, weight_decay, step):
    """One step of Adafactor (Shazeer & Stern 2018, algorithms 4 and 5); writes into all but grad.

    The mean of g² is kept as `square`; of matrices as its means over columns and over rows, which are multiplied.
    """
    wide = xp.result_type(param.dtype, xp.float32)
    rate = max(eps2, _rms(xp, param, wide)) * min(lr, 1 / math.sqrt(step))
    param *= 1 - lr * weight_decay
    squares = grad.astype(wide) ** 2
    if square is None:
        rows += (squares.mean(-1, keepdims=True) - rows) * new
        columns += (squares.mean(-2, keepdims=True) - columns) * new
        square = rows @ columns / xp.maximum(rows.mean(-2, keepdims=True), eps1)
    else:
        square += (squares - square) * new
    change = grad / xp.sqrt(xp.maximum(square, eps1 * eps1))
    param -= (rate / max(1.0, _rms(xp, change, wide) / d)) * change


def muon_step(xp, param, grad, velocity, *, lr, weight_decay, momentum, nesterov, coefficients, eps, rounds, scale):
    """One step of Muon (Jordan et al. 2024): along the momentum with all its singular values brought close to 1.

    Newton and Schulz's iteration brings them there without a decomposition.  Writes into param and velocity.
    """
    _follow(velocity, grad, momentum)
    x = grad + (velocity - grad) * momentum if nesterov else velocity
    x = x.astype(xp.result_type(x.dtype, xp.float32))
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / xp.maximum(xp.sqrt((x * x).sum()), eps)
    a, b, c = coefficients
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    param *= 1 - lr * weight_decay
    param -= (lr * scale) * (x.T if tall else x).astype(param.dtype)


def _decayed(param, grad, lr, weight_decay, decoupled):
    """The gradient with the decay of the weights in it, unless that is decoupled: then it is done at once."""
    if not weight_decay:
        return grad
    if decoupled:
        param *= 1 - lr * weight_decay
        return grad
    return grad + weight_decay * param


def _follow(mean, value, beta):
    """mean ← beta · mean + (1 − beta) · value, in place."""
    mean += (value - mean) * (1 - beta)


def _rms(xp, array, dtype):
    """The root of the mean square, as a number."""
    return math.sqrt(float(xp.mean(xp.square(array.astype(dtype))))) if array.size else 0.0


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


BY_ENTRY = {  # steps of one parameter, each entry by itself, so that a backend may cut the arrays into pieces
    "adam_step": adam_step,
    "amsgrad_step": adam_step,
    "nadam_step": nadam_step,
    "radam_step": radam_step,
    "adamax_step": adamax_step,
    "sgd_step": sgd_step,
    "asgd_step": asgd_step,
    "lion_step": lion_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
    "adadelta_step": adadelta_step,
    "rprop_step": rprop_step,
}
STEPS = {**BY_ENTRY, "adafactor_step": adafactor_step, "muon_step": muon_step}
table = {
    **{name: for_each(step) for name, step in STEPS.items()},
    "square_sums": square_sums,
    "scale": scale,
    "unscale": unscale,
}
