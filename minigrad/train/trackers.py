"""Further places for the records of a run: TensorBoard, Weights & Biases, statistics of gradients and weights."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..pretrained.checkpoint.files import replacing
from .arguments import TrainingArguments, listed
from .callbacks import JSONLinesCallback, TrainerCallback
from .tensorboard import TensorBoardCallback, numbers


class WandbCallback(TrainerCallback):
    """Sends every record to Weights & Biases, with the same tags as for TensorBoard; WANDB_MODE=offline keeps it local.

    Raises ImportError, naming the extra to install, if the library is missing.
    """

    reports = True

    run: Any = None

    def __init__(self):
        try:
            import wandb
        except ImportError as error:
            raise ImportError(f'report_to="wandb" needs wandb ({error}): pip install "minigrad-learn[wandb]"') from None
        self.wandb = wandb

    def on_train_begin(self, args, state, control, **more):
        self.run = self.wandb.init(
            name=args.run_name, id=state.run_id[:16], resume="allow", config=args.to_dict(), dir=args.output_dir
        )
        self.run.define_metric("*", step_metric="train/global_step")

    def on_log(self, args, state, control, logs, **more):
        if self.run is not None:
            self.run.log({**numbers(logs), "train/global_step": state.global_step})

    def close(self) -> None:
        """Finish the run at Weights & Biases."""
        if self.run is not None:
            self.run.finish()
        self.run = None

    def state_dict(self):
        return {}


class StatisticsCallback(TrainerCallback):
    """Norms of each parameter and its gradient, measured in the steps that are logged, as a page `statistics.html`.

    `rows` lists (step, name, norm of the gradient, norm of the weight, largest entry of the gradient).  The page shows
    at once a gradient that is 0 throughout, or much smaller than its weight.
    """

    reports = True

    def __init__(self):
        self.rows: list[list[Any]] = []

    def on_pre_optimizer_step(self, args, state, control, model, trainer, **more):
        if (state.global_step + 1) % state.logging_steps:
            return
        scale = trainer.scaler.get_scale() if args.fp16 else 1.0
        for name, p in model.named_parameters():
            if p.grad is not None:
                g = p.grad.numpy().astype(np.float64) / scale
                w = p.numpy().astype(np.float64)
                self.rows.append(
                    [state.global_step + 1, name, *map(float, (np.linalg.norm(g), np.linalg.norm(w), abs(g).max()))]
                )

    def on_train_end(self, args, state, control, **more):
        with replacing(Path(args.output_dir) / "statistics.html") as (part,):
            part.write_text(self.page(), encoding="utf-8")

    on_save = on_train_end

    def page(self) -> str:
        """The HTML page: the newest numbers of each parameter, and the norm of its gradient over the steps."""
        by_name: dict[str, list] = {}
        for row in self.rows:
            by_name.setdefault(row[1], []).append(row)
        lines = []
        for name, rows in by_name.items():
            step, _, gradient, weight, largest = rows[-1]
            ratio = gradient / weight if weight else math.inf
            lines.append(
                f"<tr><td>{html.escape(name)}</td><td>{step}</td>"
                + "".join(f"<td>{number:.3g}</td>" for number in (gradient, weight, ratio, largest))
                + f"<td>{line(rows)}</td></tr>"
            )
        head = "".join(
            f"<th>{title}</th>"
            for title in (
                "parameter",
                "step",
                "‖gradient‖",
                "‖weight‖",
                "ratio",
                "largest entry",
                "‖gradient‖ over the steps, logarithmic",
            )
        )
        return (
            "<!doctype html><meta charset='utf-8'><title>gradients and weights</title><style>body{font:14px sans-serif}"
            f"td,th{{padding:2px 8px;text-align:right}}td:first-child{{text-align:left}}</style><table><tr>{head}</tr>"
            f"{''.join(lines)}</table>"
        )


def line(rows: list[list[Any]]) -> str:
    """The norms of a gradient as an SVG line of 160 × 24 pixels, on a logarithmic scale."""
    values = [math.log10(max(row[2], 1e-30)) if math.isfinite(row[2]) else 0.0 for row in rows]
    low, high = min(values), max(values)
    points = " ".join(
        f"{160 * i / max(len(values) - 1, 1):.1f},{22 - 20 * (value - low) / ((high - low) or 1):.1f}"
        for i, value in enumerate(values)
    )
    return f"<svg width='160' height='24'><polyline points='{points}' fill='none' stroke='#36c'/></svg>"


REPORTS = {
    "jsonl": JSONLinesCallback,
    "tensorboard": TensorBoardCallback,
    "wandb": WandbCallback,
    "statistics": StatisticsCallback,
}


def trackers(args: TrainingArguments) -> list[TrainerCallback]:
    """The callbacks that `report_to` names."""
    return [REPORTS[name]() for name in listed(args.report_to)]
