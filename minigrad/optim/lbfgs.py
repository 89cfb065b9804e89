"""L-BFGS, which takes the curvature from the last gradients and evaluates the loss as often as it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..backend import of
from ..errors import is_whole
from ..execution import enable_grad, writing
from .optimizer import Optimizer, Parameters, checked_gradient

Evaluate = Callable[[float], tuple[float, Any, float]]  # a step's size -> (loss, gradient, slope along the direction)


class LBFGS(Optimizer):
    """w ← w − t·H·g, with H an estimate of the inverse of the Hessian from the last `history_size` changes of w and g.

    For small problems and gradients of all the data (Nocedal & Wright 2006, algorithms 7.4 and 7.5).  One step is up to
    `max_iter` iterations, each of which evaluates the closure again:

        def closure():
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            return loss
        optimizer.step(closure)

    Args:
        lr: t; with the line search, where it begins.
        max_eval: the most evaluations in one step; 1.25 · max_iter if it is None.
        tolerance_grad, tolerance_change: it ends where no entry of the gradient is larger, and where neither the
            weights nor the loss change by more.
        line_search_fn: None, or "strong_wolfe" for a t that meets the strong Wolfe conditions.

    Raises:
        ValueError: there are several parameter groups, which have one direction and cannot differ in their options.
    """

    numbers = {"func_evals": int, "n_iter": int, "t": float, "H_diag": float, "prev_loss": float, "ro": float}
    checks = {
        **{
            option: (lambda v: is_whole(v, 1), f"{option} to be a whole number, 1 or more")
            for option in ("max_iter", "max_eval", "history_size")
        },
        "line_search_fn": (lambda v: v in (None, "strong_wolfe"), 'line_search_fn to be None or "strong_wolfe"'),
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        super().__init__(
            params,
            lr=lr,
            max_iter=max_iter,
            max_eval=max(1, max_iter * 5 // 4) if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )

    def add_param_group(self, group):
        if self.param_groups:
            raise ValueError("LBFGS has one direction for all parameters, and so one group of them: give one list")
        super().add_param_group(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations; returns what the first call of the closure did, the loss before them."""
        if closure is None:
            raise TypeError(
                "LBFGS evaluates the loss several times in a step: give step(closure), a function that calls "
                "zero_grad(), computes the loss, calls its backward() and returns it"
            )
        (group,) = self.param_groups
        evaluate = enable_grad()(closure)
        memory = self.state.setdefault(group["params"][0], {"func_evals": 0, "n_iter": 0})
        before = evaluate()
        loss, g, evaluations = float(before), self._gradient(), 1
        memory["func_evals"] += 1
        if _largest(g) <= group["tolerance_grad"]:
            return before
        for iteration in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            d = self._direction(memory, g, group["history_size"])
            t = group["lr"] * (min(1.0, 1.0 / float(abs(g).sum())) if memory["n_iter"] == 1 else 1)
            memory.update(d=d, t=t, prev_flat_grad=g, prev_loss=loss)
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                break
            last, used = loss, 0
            if group["line_search_fn"]:
                weights = [p.data.copy() for p in group["params"]]

                def along(t: float) -> tuple[float, Any, float]:
                    self._move(t, d)  # noqa: B023  called in this iteration only
                    value = float(evaluate())
                    there = self._gradient()
                    self._write(weights)  # noqa: B023
                    return value, there, float(there @ d)  # noqa: B023

                reach = group["tolerance_change"] / (_largest(d) or 1)
                t, loss, g, used = strong_wolfe(along, t, (loss, g, slope), reach, group["max_eval"] - evaluations)
                memory["t"] = t
                self._move(t, d)
            else:
                self._move(t, d)
                if iteration < group["max_iter"]:
                    loss, used = float(evaluate()), 1
                    g = self._gradient()
            evaluations += used
            memory["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or _largest(g) <= group["tolerance_grad"]
                or _largest(d) * abs(t) <= group["tolerance_change"]
                or abs(loss - last) < group["tolerance_change"]
            ):
                break
        return before

    def _direction(self, memory: dict[str, Any], g: Any, history_size: int) -> Any:
        """−H·g: the recursion over the changes of the gradient (old_dirs) and of the weights (old_stps)."""
        if memory["n_iter"] == 1:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        changes, moves, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        change, move = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = float(change @ move)
        if curvature > 1e-10:
            for kept, new in ((changes, change), (moves, move), (ro, 1 / curvature)):
                if len(kept) == history_size:
                    del kept[0]
                kept.append(new)
            memory["H_diag"] = curvature / float(change @ change)
        d, shares = -g, []
        for i in reversed(range(len(ro))):
            shares.append(float(moves[i] @ d) * ro[i])
            d = d - shares[-1] * changes[i]
        d = d * memory["H_diag"]
        for i in range(len(ro)):
            d = d + (shares.pop() - float(changes[i] @ d) * ro[i]) * moves[i]
        return d

    def _gradient(self) -> Any:
        """All gradients in one line."""
        params = self.param_groups[0]["params"]
        xp, grads = of(*(p.data for p in params)).xp, [checked_gradient(i, p) for i, p in enumerate(params)]
        return xp.concatenate(
            [xp.zeros(p.size, p.dtype) if g is None else g.reshape(-1) for p, g in zip(params, grads, strict=True)]
        )

    def _move(self, t: float, d: Any) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            writing(p.data)
            p.data[...] += (t * d[start : start + p.size]).reshape(p.shape).astype(p.dtype)
            start += p.size

    def _write(self, weights: list[Any]) -> None:
        for p, values in zip(self.param_groups[0]["params"], weights, strict=True):
            writing(p.data)
            p.data[...] = values

    def shape_kept(self, key, shape):
        return (sum(p.size for p in self.param_groups[0]["params"]),)

    def restored(self, key, value, p, place):
        if isinstance(value, list):
            return [self.restored(key, one, p, place) for one in value if one is not None]
        return super().restored(key, value, p, place)


def strong_wolfe(
    along: Evaluate, t: float, here: tuple[float, Any, float], reach: float, most: int
) -> tuple[float, float, Any, int]:
    """A step that meets the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6, with cubics).

    Args:
        along: the loss, the gradient and the slope after a step of a given size.
        t: the first size to try.
        here: the same for a step of 0.
        reach: a bracket that is smaller ends the search.
        most: the most evaluations after the first.

    Returns:
        The size, the loss and the gradient there, and the number of evaluations.
    """
    loss, _, slope = here
    before, now = (0.0, *here), (t, *along(t))  # (size, loss, gradient, slope)
    tries, found = 0, False
    while tries < most:  # enlarge the step until the sizes before and now have a good one between them
        t = now[0]
        if now[1] > loss + 1e-4 * t * slope or tries > 1 and now[1] >= before[1]:
            break
        if abs(now[3]) <= -0.9 * slope:
            found = True
            break
        if now[3] >= 0:
            break
        t = _cubic(before, now, (t + 0.01 * (t - before[0]), 10 * t))
        before, now, tries = now, (t, *along(t)), tries + 1
    else:
        before = 0.0, *here
    low, high = (now, now) if found else sorted((before, now), key=lambda point: point[1])
    stuck = False
    while not found and tries < most and abs(high[0] - low[0]) >= reach:  # and halve the distance between them
        first, last = sorted((low[0], high[0]))
        t = _cubic(before, now, (first, last))
        margin = 0.1 * (last - first)
        if min(last - t, t - first) < margin:  # at the edge, where it may stay for long: the second time, inwards
            outside = stuck or t >= last or t <= first
            if outside:
                t = last - margin if last - t < t - first else first + margin
            stuck = not outside
        else:
            stuck = False
        new, tries = (t, *along(t)), tries + 1
        if new[1] > loss + 1e-4 * t * slope or new[1] >= low[1]:
            before, now = (new if point is high else point for point in (before, now))
            low, high = sorted((before, now), key=lambda point: point[1])
            continue
        found = abs(new[3]) <= -0.9 * slope
        turned = not found and new[3] * (high[0] - low[0]) >= 0
        before, now = (new if point is low else low if point is high and turned else point for point in (before, now))
        low, high = new, low if turned else high
    return low[0], low[1], low[2], tries + 1


def _cubic(a: tuple, b: tuple, bounds: tuple[float, float]) -> float:
    """The size at which the cubic through two points, with their slopes, is least, within bounds (eq. 3.59)."""
    a, b = sorted((a, b), key=lambda point: point[0])
    (x1, f1, _, g1), (x2, f2, _, g2) = a, b
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return sum(bounds) / 2
    d2 = math.sqrt(square)
    return min(max(x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2)), bounds[0]), bounds[1])


def _largest(array: Any) -> float:
    return float(abs(array).max()) if array.size else 0.0
