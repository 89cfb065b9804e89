"""Whole recurrent layers as one kernel each: a loop over time on bare arrays, and the same loop backwards.

What the input contributes to the gates, `gates`, is ready for all steps (one matrix product, made outside).  Time is the
first axis.  A step where `mask` is false leaves the state as it is.  `xp` is numpy or cupy.
"""
from __future__ import annotations

from . import Kernel


def _sigmoid(xp, x):
    """1 / (1 + e⁻ˣ), in place."""
    x *= 0.5
    xp.tanh(x, out=x)
    x *= 0.5
    x += 0.5
    return x


def _weight_gradients(wanted, dz, before):
    """Of the recurrent weight and bias, in one product over all steps: dz is (T, B, gates), before the states it met."""
    dz, before = dz.reshape(-1, dz.shape[-1]), before.reshape(-1, before.shape[-1])
    return dz.T @ before if wanted[1] else None, dz.sum(0) if wanted[2] else None


def lstm_forward(xp, gates, weight, bias, h, c, mask):
    """The states of an LSTM (Hochreiter & Schmidhuber 1997; gates i, f, g, o): (T, B, 2, H), h then c."""
    (T, B, _), H = gates.shape, h.shape[-1]
    states, acts = xp.empty((T + 1, B, 2, H), gates.dtype), xp.empty((T, B, 4, H), gates.dtype)
    states[0, :, 0], states[0, :, 1] = h, c
    for t in range(T):
        z = xp.matmul(states[t, :, 0], weight.T, out=acts[t].reshape(B, 4 * H))                # (B, 4H)
        z += gates[t]
        if bias is not None:
            z += bias
        i_f, g, o = acts[t, :, :2], acts[t, :, 2], acts[t, :, 3]
        _sigmoid(xp, i_f)
        xp.tanh(g, out=g)
        _sigmoid(xp, o)
        after = states[t + 1]
        xp.multiply(acts[t, :, 1], states[t, :, 1], out=after[:, 1])
        after[:, 1] += acts[t, :, 0] * g
        xp.tanh(after[:, 1], out=after[:, 0])
        after[:, 0] *= o
        if mask is not None:
            xp.copyto(after, states[t], where=~mask[t, :, None, None])
    return states[1:], (states, acts, weight)


def lstm_backward(xp, g, saved, wanted, mask):
    states, acts, weight = saved
    T, B, _, H = acts.shape
    dz = xp.empty_like(acts)
    ahead = xp.zeros((B, 2, H), g.dtype)                                       # what the steps after t ask of its state
    for t in range(T - 1, -1, -1):
        asked = ahead + g[t]
        new = asked if mask is None else asked * mask[t, :, None, None]
        i, f, candidate, o = (acts[t, :, k] for k in range(4))
        tanh_c = states[t + 1, :, 1] if mask is None else f * states[t, :, 1] + i * candidate
        tanh_c = xp.tanh(tanh_c)
        dc = new[:, 1] + new[:, 0] * o * (1 - tanh_c * tanh_c)
        d = dz[t]
        xp.multiply(dc, candidate, out=d[:, 0])
        xp.multiply(dc, states[t, :, 1], out=d[:, 1])
        xp.multiply(dc, i, out=d[:, 2])
        xp.multiply(new[:, 0], tanh_c, out=d[:, 3])
        slope = 1 - acts[t]
        slope *= acts[t]
        slope[:, 2] = 1 - candidate * candidate
        d *= slope
        ahead = xp.empty_like(asked)
        xp.matmul(d.reshape(B, 4 * H), weight, out=ahead[:, 0])
        xp.multiply(dc, f, out=ahead[:, 1])
        if mask is not None:
            ahead += asked * ~mask[t, :, None, None]
    dz = dz.reshape(T, B, 4 * H)
    return dz, *_weight_gradients(wanted, dz, states[:-1, :, 0]), ahead[:, 0], ahead[:, 1]


def gru_forward(xp, gates, weight, bias, h, mask):
    """The states of a GRU (Cho et al. 2014; gates r, z, n with r inside n's recurrent part, as in torch): (T, B, H)."""
    (T, B, _), H = gates.shape, h.shape[-1]
    states = xp.empty((T + 1, B, H), gates.dtype)
    acts, recurrent = xp.empty((T, B, 3, H), gates.dtype), xp.empty((T, B, H), gates.dtype)
    states[0] = h
    for t in range(T):
        part = states[t] @ weight.T                                            # (B, 3H)
        if bias is not None:
            part += bias
        recurrent[t] = part[:, 2 * H:]
        acts[t, :, :2] = (gates[t, :, :2 * H] + part[:, :2 * H]).reshape(B, 2, H)
        r_z, n = _sigmoid(xp, acts[t, :, :2]), acts[t, :, 2]
        xp.multiply(r_z[:, 0], recurrent[t], out=n)
        n += gates[t, :, 2 * H:]
        xp.tanh(n, out=n)
        after = states[t + 1]
        xp.subtract(states[t], n, out=after)
        after *= r_z[:, 1]
        after += n
        if mask is not None:
            xp.copyto(after, states[t], where=~mask[t, :, None])
    return states[1:], (states, acts, recurrent, weight)


def gru_backward(xp, g, saved, wanted, mask):
    states, acts, recurrent, weight = saved
    T, B, _, H = acts.shape
    d_in, d_rec = xp.empty_like(acts), xp.empty_like(acts)                     # of the gates' input and recurrent parts
    ahead = xp.zeros((B, H), g.dtype)
    for t in range(T - 1, -1, -1):
        asked = ahead + g[t]
        new = asked if mask is None else asked * mask[t, :, None]
        r, z, n = (acts[t, :, k] for k in range(3))
        dn = new * (1 - z) * (1 - n * n)
        d_in[t, :, 2], d_rec[t, :, 2] = dn, dn * r
        d_in[t, :, 0] = dn * recurrent[t] * r * (1 - r)
        d_in[t, :, 1] = new * (states[t] - n) * z * (1 - z)
        d_rec[t, :, :2] = d_in[t, :, :2]
        ahead = d_rec[t].reshape(B, 3 * H) @ weight
        ahead += new * z
        if mask is not None:
            ahead += asked * ~mask[t, :, None]
    d_in, d_rec = d_in.reshape(T, B, 3 * H), d_rec.reshape(T, B, 3 * H)
    return d_in, *_weight_gradients(wanted, d_rec, states[:-1]), ahead


def rnn_forward(xp, gates, weight, bias, h, mask, nonlinearity):
    """The states of a plain recurrent layer (Elman 1990): (T, B, H)."""
    T = len(gates)
    states = xp.empty((T + 1, *h.shape), gates.dtype)
    states[0] = h
    for t in range(T):
        after = xp.matmul(states[t], weight.T, out=states[t + 1])
        after += gates[t]
        if bias is not None:
            after += bias
        if nonlinearity == "tanh":
            xp.tanh(after, out=after)
        else:
            xp.maximum(after, 0, out=after)
        if mask is not None:
            xp.copyto(after, states[t], where=~mask[t, :, None])
    return states[1:], (states, weight)


def rnn_backward(xp, g, saved, wanted, mask, nonlinearity):
    states, weight = saved
    dz, ahead = xp.empty_like(states[1:]), xp.zeros_like(states[0])
    for t in range(len(dz) - 1, -1, -1):
        asked, y = ahead + g[t], states[t + 1]
        new = asked if mask is None else asked * mask[t, :, None]
        xp.multiply(new, 1 - y * y if nonlinearity == "tanh" else y > 0, out=dz[t])
        ahead = dz[t] @ weight
        if mask is not None:
            ahead += asked * ~mask[t, :, None]
    return dz, *_weight_gradients(wanted, dz, states[:-1]), ahead


table = {
    "lstm": Kernel(lstm_forward, lstm_backward),
    "gru": Kernel(gru_forward, gru_backward),
    "rnn": Kernel(rnn_forward, rnn_backward),
}
