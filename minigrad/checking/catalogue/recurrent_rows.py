"""Rows of the catalogue for recurrent layers; the NumPy references loop over the steps."""

from __future__ import annotations

import numpy as np

from ...nn import recurrent
from .rows import R, Row

REAL = np.array([[True, True], [True, False], [True, False]])  # the second sequence is one step long


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, weight, h, c, mask=None):
    states = []
    for t, z in enumerate(gates):
        i, f, g, o = np.split(z + h @ weight.T, 4, axis=1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        keep = np.ones((len(h), 1), bool) if mask is None else mask[t][:, None]
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
        states.append(h)
    return np.array([*states, c])


def lstm_projected(gates, weight, projection, h, c, mask=None):
    states = []
    for t, z in enumerate(gates):
        i, f, g, o = np.split(z + h @ weight.T, 4, axis=1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c) @ projection.T
        keep = np.ones((len(h), 1), bool) if mask is None else mask[t][:, None]
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
        states.append(np.concatenate([h, c], 1))
    return np.array(states)


def gru(gates, weight, bias, h, mask=None):
    states = []
    for t, z in enumerate(gates):
        (r, u, n), (hr, hu, hn) = np.split(z, 3, axis=1), np.split(h @ weight.T + bias, 3, axis=1)
        u = sigmoid(u + hu)
        new = (1 - u) * np.tanh(n + sigmoid(r + hr) * hn) + u * h
        h = new if mask is None else np.where(mask[t][:, None], new, h)
        states.append(h)
    return np.array(states).reshape(len(gates), *h.shape)


def rnn(gates, weight, h, mask=None, act=np.tanh):
    states = []
    for t, z in enumerate(gates):
        new = act(z + h @ weight.T)
        h = new if mask is None else np.where(mask[t][:, None], new, h)
        states.append(h)
    return np.array(states).reshape(len(gates), *h.shape)


ROWS = [
    Row(
        "lstm",
        lambda gates, weight, h, c: recurrent._lstm(gates, weight, h, c, None),
        (R(3, 2, 8), R(8, 2), R(2, 2), R(2, 2)),
        lstm,
    ),
    Row("lstm", recurrent._lstm, (R(3, 2, 8), R(8, 2), R(2, 2), R(2, 2), REAL), lstm, ()),
    Row(
        "lstm_projected",
        recurrent._lstm_projected,
        (R(3, 2, 8), R(8, 1), R(1, 2), R(2, 1), R(2, 2), REAL),
        lstm_projected,
        (),
    ),
    Row(
        "gru",
        lambda gates, weight, bias, h: recurrent._gru(gates, weight, bias, h, None),
        (R(3, 2, 6), R(6, 2), R(6), R(2, 2)),
        gru,
    ),
    Row("gru", recurrent._gru, (R(3, 2, 6), R(6, 2), R(6), R(2, 2), REAL), gru, ()),
    Row(
        "rnn",
        lambda gates, weight, h: recurrent._rnn(gates, weight, h, None, "tanh"),
        (R(3, 2, 2), R(2, 2), R(2, 2)),
        rnn,
    ),
    Row(
        "rnn",
        lambda *xs: recurrent._rnn(*xs, nonlinearity="relu"),
        (R(3, 2, 2), R(2, 2), R(2, 2), REAL),
        lambda *xs: rnn(*xs, act=lambda x: np.maximum(x, 0)),
        (),
    ),
]
