"""Whole recurrent layers as one kernel each: a loop over time on bare arrays, and the same loop backwards.

What the input contributes to the gates, `gates`, is ready for all steps (one matrix product, made outside).  Time is
the first axis.  A step where `mask` is false leaves the state as it is.  `xp` is numpy or cupy.
"""

from __future__ import annotations

from ..record import Kernel

MAX_STEPS = 16  # steps prepared at a time on the way back: more would take more memory


def _sigmoid(xp, x):
    """1 / (1 + e⁻ˣ), in place."""
    x *= 0.5
    xp.tanh(x, out=x)
    x *= 0.5
    x += 0.5
    return x


def _weight_gradient(xp, wanted, dz, before):
    """The gradient of the recurrent weight, in one product over all steps: dz is (T, B, gates), before (T, B, H)."""
    return xp.matmul(dz.reshape(-1, dz.shape[-1]).T, before.reshape(-1, before.shape[-1])) if wanted[1] else None


def lstm_forward(xp, gates, weight, h, c, mask):
    """The states (T + 1, B, H) of an LSTM, h after each step and then the last c (Hochreiter & Schmidhuber 1997).

    The gates are i, f, g, o.  The logistic function of z is (1 + tanh(z / 2)) / 2, so that one tanh serves all four
    gates; g, which needs no halving, stands last here.  ½ is exact in floating point: halving the weights halves the
    product.  Each gate of a step is contiguous, which matters because many steps are short.
    """
    (T, B, _), H = gates.shape, h.shape[-1]
    hs, cs = xp.empty((T + 2, B, H), gates.dtype), xp.empty((T + 1, B, H), gates.dtype)
    hs[0], cs[0] = h, c
    halves, acts = xp.empty((4, H, H), weight.dtype), xp.empty((T, 4, B, H), gates.dtype)
    _g_last(xp, weight.reshape(4, H, H), halves)
    by_gate, into = gates.reshape(T, B, 4, H).transpose(2, 0, 1, 3), acts.swapaxes(0, 1)
    _g_last(xp, by_gate, into)
    weights, part = xp.ascontiguousarray(halves.swapaxes(1, 2)), xp.empty((B, H), acts.dtype)
    for t in range(T):
        now = acts[t]
        i, f, o, g = now
        now += xp.matmul(hs[t], weights)
        xp.tanh(now, out=now)
        logistic = now[:3]
        logistic *= 0.5
        logistic += 0.5
        c = xp.multiply(f, cs[t], out=cs[t + 1])
        c += xp.multiply(i, g, out=part)
        h = xp.tanh(c, out=hs[t + 1])
        h *= o
        if mask is not None:
            for states in (hs, cs):
                xp.copyto(states[t + 1], states[t], where=~mask[t, :, None])
    hs[T + 1] = cs[T]
    return hs[1:], (hs, cs, acts, weight)


def _g_last(xp, gates, out):
    """(i f g o, …) as (½ i, ½ f, ½ o, g, …) into `out`."""
    xp.multiply(gates[:2], 0.5, out=out[:2])
    xp.multiply(gates[3], 0.5, out=out[2])
    out[3] = gates[2]


def lstm_backward(xp, g, saved, wanted, mask):
    hs, cs, acts, weight = saved
    T, _, B, H = acts.shape
    dz = xp.empty((T, B, 4, H), acts.dtype)
    dh, dc, part = xp.zeros((B, H), g.dtype), xp.array(g[T]), xp.empty((B, H), g.dtype)
    slopes = xp.empty((min(T, MAX_STEPS), 5, B, H), acts.dtype)

    def prepare(first, stop):
        given = [array[first:stop] for array in (acts, cs, cs[1:], hs[1:])]
        _lstm_slopes(xp, *given, out=slopes[: stop - first])

    for t in range(T - 1, -1, -1):
        if t == T - 1 or t % MAX_STEPS == MAX_STEPS - 1:
            prepare(t - t % MAX_STEPS, t + 1)
        by_gates, h_by_c = slopes[t % MAX_STEPS, :4], slopes[t % MAX_STEPS, 4]
        c_by_gates, h_by_o = by_gates[:3], by_gates[3]
        dh += g[t]  # what is asked of the states after t: dh, dc
        if mask is not None:
            real = mask[t, :, None]
            old_h, old_c = dh * ~real, dc * ~real
            dh, dc = dh * real, dc * real
        dc += xp.multiply(dh, h_by_c, out=part)
        c_by_gates *= dc
        h_by_o *= dh
        dz[t] = by_gates.swapaxes(0, 1)
        xp.matmul(dz[t].reshape(B, 4 * H), weight, out=dh)
        dc *= acts[t, 1]
        if mask is not None:
            dh += old_h
            dc += old_c
    dz = dz.reshape(T, B, 4 * H)
    return dz, _weight_gradient(xp, wanted, dz, hs[:T]), dh, dc


def _lstm_slopes(xp, acts, before, c, h, out):
    """Write the slopes of some steps, given c before and after them, into `out` (T, 5, B, H).

    They are those of c by the gates i, f and g before tanh, of h by o, and of h by c.  (Where the mask is False, they
    are not used.)
    """
    i, f, o, g = acts.swapaxes(0, 1)
    by_i, by_f, by_g, h_by_o, h_by_c = out.swapaxes(0, 1)
    part = i * g

    def less(whole, share, out):
        xp.multiply(whole, share, out=out)
        xp.subtract(whole, out, out=out)

    less(part, i, by_i)  # i (1 - i) g
    xp.subtract(i, xp.multiply(part, g, out=by_g), out=by_g)  # i (1 - g²)
    less(xp.multiply(f, before, out=part), f, by_f)
    less(h, o, h_by_o)
    xp.tanh(c, out=part)
    part *= h
    xp.subtract(o, part, out=h_by_c)  # o (1 - tanh² c)


def gru_forward(xp, gates, weight, bias, h, mask):
    """The states of a GRU (Cho et al. 2014; gates r, z, n with r inside n's recurrent part, as in torch): (T, B, H)."""
    (T, B, _), H = gates.shape, h.shape[-1]
    states = xp.empty((T + 1, B, H), gates.dtype)
    acts, recurrent = xp.empty((T, B, 3, H), gates.dtype), xp.empty((T, B, H), gates.dtype)
    states[0], across, part = h, xp.ascontiguousarray(weight.T), xp.empty((B, 3 * H), gates.dtype)
    for t in range(T):
        xp.matmul(states[t], across, out=part)
        if bias is not None:
            part += bias
        recurrent[t] = part[:, 2 * H :]
        acts[t, :, :2] = (gates[t, :, : 2 * H] + part[:, : 2 * H]).reshape(B, 2, H)
        r_z, n = _sigmoid(xp, acts[t, :, :2]), acts[t, :, 2]
        xp.multiply(r_z[:, 0], recurrent[t], out=n)
        n += gates[t, :, 2 * H :]
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
    d_in, d_rec = xp.empty_like(acts), xp.empty_like(acts)  # of the gates' input and recurrent parts
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
        xp.matmul(d_rec[t].reshape(B, 3 * H), weight, out=ahead)
        ahead += new * z
        if mask is not None:
            ahead += asked * ~mask[t, :, None]
    d_in, d_rec = d_in.reshape(T, B, 3 * H), d_rec.reshape(T, B, 3 * H)
    return d_in, _weight_gradient(xp, wanted, d_rec, states[:-1]), d_rec.sum((0, 1)) if wanted[2] else None, ahead


def rnn_forward(xp, gates, weight, h, mask, nonlinearity):
    """The states of a plain recurrent layer (Elman 1990): (T, B, H)."""
    T = len(gates)
    states = xp.empty((T + 1, *h.shape), gates.dtype)
    states[0], across = h, xp.ascontiguousarray(weight.T)
    for t in range(T):
        after = xp.matmul(states[t], across, out=states[t + 1])
        after += gates[t]
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
        xp.matmul(dz[t], weight, out=ahead)
        if mask is not None:
            ahead += asked * ~mask[t, :, None]
    return dz, _weight_gradient(xp, wanted, dz, states[:-1]), ahead


table = {
    "lstm": Kernel(lstm_forward, lstm_backward),
    "gru": Kernel(gru_forward, gru_backward),
    "rnn": Kernel(rnn_forward, rnn_backward),
}
