"""Mixed precision (Micikevicius et al. 2018): products in 16 bits, sums and exponentials in 32, weights kept in 32.

    with mg.autocast("bfloat16"):
        loss = model(x)

    loss.backward()
    optimizer.step()

float16 has more digits, but small gradients vanish in it: a GradScaler makes them larger for the way back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .backend import is_float, of
from .execution import Mode, record, writing
from .optim import Optimizer
from .tensor import Tensor, as_array


def autocast(dtype: Any, *, enabled: bool = True) -> record:
    """In the body, compute products in `dtype`, "float16" or "bfloat16", and what needs it in float32.

    Which op is which stands beside it, as `@builtin(autocast=...)`.

    The casts are steps of the tape, so the gradients of float32 weights come back in float32.  Put the forward pass and
    the loss into the body; the backward pass keeps to the dtypes it finds, in the body or after it.  Also a decorator;
    `enabled=False` switches it off, within another one too.

    Raises:
        ValueError: `dtype` is neither of the two.
    """
    targets = {"half": _half(dtype), "float32": np.dtype(np.float32)}

    def given(op: Any, inputs: tuple) -> tuple:
        target = targets.get(op.autocast)
        if op.autocast == "first input" and is_float(first := as_array(inputs[0]).dtype):
            target = first
        return inputs if target is None else tuple([_cast(x, target) for x in inputs])

    return record(lambda here: here._replace(given=given if enabled else Mode().given))


def _half(dtype: Any) -> np.dtype:
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    if name not in ("float16", "bfloat16"):
        raise ValueError(
            f'autocast: {dtype!r} is not a dtype of 16 bits: type mg.autocast("bfloat16"), or "float16" and use a '
            "GradScaler; the device is that of the Tensors"
        )
    if name == "float16":
        return np.dtype(np.float16)
    from ml_dtypes import bfloat16

    return np.dtype(bfloat16)


def _cast(x: Any, dtype: np.dtype) -> Any:
    if isinstance(x, Tensor) and x.dtype != dtype and x.dtype.name in ("float32", "float16", "bfloat16"):
        return ops.astype(x, dtype)
    return x


class GradScaler:
    """Multiplies the loss so that no gradient is too small for float16, and divides the gradients before they are used.

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)              # only to look at the gradients, or to clip them
        scaler.step(optimizer)                  # leaves the weights alone if a gradient is infinite or not a number
        scaler.update()

    After a step that was left out the scale is multiplied by `backoff_factor`, after `growth_interval` good ones in a
    row by `growth_factor`.  `skipped` counts the steps left out.  Torch's names and defaults.

    Raises:
        ValueError: a scale or factor is out of range.
    """

    SMALLEST = 2.0**-14  # the smallest normal number of float16

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if isinstance(init_scale, str):
            raise TypeError(
                f"GradScaler got {init_scale!r} as init_scale: the device is that of the gradients, name none"
            )
        if not (init_scale > 0 and growth_factor > 1 > backoff_factor > 0 and growth_interval >= 1):
            raise ValueError(
                f"GradScaler got {init_scale}, {growth_factor}, {backoff_factor}, {growth_interval}: expected an "
                "init_scale above 0, a growth_factor above 1, a backoff_factor below 1, a growth_interval from 1"
            )
        self.growth_factor, self.backoff_factor, self.growth_interval = growth_factor, backoff_factor, growth_interval
        self.enabled, self.skipped = enabled, 0
        self._scale, self._good_steps = float(init_scale), 0
        self._finite: dict[Optimizer, Any] = {}  # of the optimisers whose gradients were divided: are all finite?
        self._stepped: set[Optimizer] = set()  # the optimisers that have stepped since the last update

    def get_scale(self) -> float:
        """What losses are multiplied by."""
        return self._scale if self.enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale, in float32 if it had 16 bits."""
        return _cast(loss, np.dtype(np.float32)) * self._scale if self.enabled else loss

    def unscale_(self, optimizer: Optimizer) -> Tensor | bool:
        """Divide the gradients of the optimiser's parameters by the scale, in place; returns whether all are finite.

        That is a Tensor, for which on a GPU nothing has waited yet: who brings it to the host together with other
        numbers can give `step` the answer.  (Where the scaler is not enabled nothing is looked at, and it is True.)

        Raises:
            RuntimeError: that was done already since the last `update`, which may have been forgotten.
        """
        if not self.enabled:
            return True
        self._check_not_stepped(optimizer)
        if optimizer in self._finite:
            raise RuntimeError(
                "the gradients were divided by the scale already: call unscale_ once, then step, then update"
            )
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        backend = of(*(g.data for g in grads))
        for g in grads:
            writing(g.data)
        self._finite[optimizer] = Tensor(backend.call("unscale", [g.data for g in grads], 1 / self._scale))
        return self._finite[optimizer]

    def step(self, optimizer: Optimizer, finite: bool | None = None) -> None:
        """`optimizer.step()` if all its gradients are finite; `unscale_` before it, where that was not done.

        Here the host waits for a GPU, once in every step, since the next scale depends on the answer; unless it is told
        it, as `finite`.

        Raises:
            RuntimeError: it has stepped already since the last `update`: new gradients would be taken for divided ones.
        """
        if not self.enabled:
            return optimizer.step()
        self._check_not_stepped(optimizer)
        if optimizer not in self._finite:
            self.unscale_(optimizer)
        self._stepped.add(optimizer)
        self._finite[optimizer] = bool(self._finite[optimizer]) if finite is None else finite
        if self._finite[optimizer]:
            optimizer.step()
        else:
            self.skipped += 1

    def update(self) -> None:
        """Choose the scale of the next step, once all optimisers have stepped.

        Raises:
            RuntimeError: no optimiser has stepped.
            ValueError: the gradients are not finite however small the scale, so it is not the scale that is wrong.
        """
        if not self.enabled:
            return
        if not self._finite:
            raise RuntimeError(
                "update was called, but no step was made since the last one: first scaler.step(optimizer)"
            )
        if not all(self._finite.values()):
            self._scale, self._good_steps = self._scale * self.backoff_factor, 0
        else:
            self._good_steps += 1
            if self._good_steps == self.growth_interval:
                self._scale, self._good_steps = self._scale * self.growth_factor, 0
        self._finite.clear()
        self._stepped.clear()
        if self._scale < self.SMALLEST:
            raise ValueError(
                f"the gradients are infinite or not a number even with a loss scale of {self._scale:.2g}: lower the "
                "learning rate, or look for log(0) or 0/0 in the loss"
            )

    def _check_not_stepped(self, optimizer: Optimizer) -> None:
        if optimizer in self._stepped:
            raise RuntimeError(
                f"this {type(optimizer).__name__} has stepped since the last update: call scaler.update() once "
                "after all optimisers have stepped"
            )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, under torch's names; `skipped` is ours."""
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_steps,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict()` returned, here or in torch."""
        self._scale, self._good_steps = float(state_dict["scale"]), state_dict["_growth_tracker"]
        self.growth_factor, self.backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self.growth_interval, self.skipped = state_dict["growth_interval"], state_dict.get("skipped", 0)
