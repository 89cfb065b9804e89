"""A plan for a run of a model: resolves patterns to names, and applies states to the model and the optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ...nn import Module, Parameter
from ...optim import Optimizer
from ...patterns import check_matched, match
from ...places import warn
from .changes import Change, State
from .timeline import Timeline

if TYPE_CHECKING:
    from .plan import Plan


class BoundPlan(Timeline):
    """A plan for a run and, if one is given, for a model; `Plan.bind` makes it, and lists the errors it raises.

    The plan starts from the model's present frozen parameters and settings; if it was applied to this model before,
    from those before that, so that the same plan gives the same run.
    """

    def __init__(self, plan: Plan, total_steps: int, steps_per_epoch: int | None = None, model: Module | None = None):
        super().__init__(plan, total_steps, steps_per_epoch)
        self.model = model
        self.own_settings: dict[tuple[str, str], Any] = {}  # by the module's path and the setting's name
        self._known_trained: dict[tuple, dict[str, bool]] = {}
        self._regrouped: tuple[Optimizer | None, dict] = None, {}
        if model is not None:
            self._bind_model(model)

    def _bind_model(self, model: Module) -> None:
        self.parameters = dict(model.named_parameters())
        self.names = {id(p): name for name, p in self.parameters.items()}
        before = self.plan._before.get(model, {"trained": {}, "settings": {}})
        self.own_trained = {name: before["trained"].get(name, p.requires_grad) for name, p in self.parameters.items()}
        factors = [pattern for _, tick in self.ticks for pattern, _ in dict(tick.options).get("lr_factors", ())]
        frozen = [pattern for _, tick in self.ticks for pattern, _ in tick.frozen]
        check_matched([*frozen, *factors], self.parameters, f"parameter of {type(model).__name__}")
        self._check_frozen({pattern: [name for name in self.parameters if match(pattern, name)] for pattern in frozen})
        for _, tick in self.ticks:
            of = dict(tick.options).get("lr_factors", ())
            for name in self.parameters:
                if len(found := [pattern for pattern, _ in of if match(pattern, name)]) > 1:
                    raise ValueError(
                        f"the lr_factors of {tick.title} overlap: {found[0]!r} and {found[1]!r} both match {name}"
                    )
        self._modules: dict[tuple[str, str], tuple[Module, frozenset[str]]] = {}  # with the patterns that match it
        for change in self.changes_of_settings:
            self._find_settings(model, change)
        self._check_settings()
        for start, _, phase in self.phases:
            if not any(self._trained(self.state(start)).values()):
                raise ValueError(
                    f"in {phase.begin.title} every parameter is frozen: freeze fewer, or unfreeze what it trains"
                )

    def _find_settings(self, model: Module, change: Change) -> None:
        """Record the modules that a change applies to."""
        called = {path: [path, f"{path}.{type(m).__name__}".lstrip(".")] for path, m in model.named_modules()}
        all_names = [name for names in called.values() for name in names]
        check_matched([change.pattern], all_names, f"module of {type(model).__name__}")
        found = [
            (path, m) for path, m in model.named_modules() if any(match(change.pattern, name) for name in called[path])
        ]
        fitting = [(path, m) for path, m in found if change.name in vars(m)]
        if not fitting:
            known = [
                name for _, m in found for name, value in vars(m).items() if isinstance(value, (bool, int, float, str))
            ]
            near = get_close_matches(change.name, known, 3, 0.3) or dict.fromkeys(known) or ["nothing that can be set"]
            raise ValueError(
                f"no module that {change.pattern!r} matches has a setting {change.name!r}: "
                f"{found[0][0] or 'the model'}, a {type(found[0][1]).__name__}, has {', '.join(near)}"
            )
        for path, m in fitting:
            key = path, change.name
            own = self.plan._before.get(model, {"settings": {}})["settings"].get(key, getattr(m, change.name))
            _check_kind(f"{change.told()}: {path or 'the model'}", change, own)
            self.own_settings[key] = own
            self._modules[key] = m, self._modules.get(key, (m, frozenset()))[1] | {change.pattern}

    def _check_settings(self) -> None:
        """Raise ValueError for changes that overlap; warn of one that changes nothing."""
        idle = dict.fromkeys(self.changes_of_settings, True)
        for (path, name), own in self.own_settings.items():
            changes = [
                c for c in self.changes_of_settings if c.name == name and c.pattern in self._modules[path, name][1]
            ]
            self._check_apart(changes, path or "the model")
            for change in changes:
                if callable(change.value) or change.value != own:
                    idle[change] = False
                own = change.at(change.end).after(own)
        for change in idle:
            if idle[change]:
                hint = f"; to move from another value, begin with .at(0, set({change.pattern!r}, {change.name}=...))"
                warn(
                    f"{change.told()}, at step {change.start}, changes nothing: it has that value already"
                    + hint * bool(change.over)
                )

    def param_groups(self, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups for an optimiser, split so that the parameters of each have the same learning rate in every phase."""
        split: list[dict[str, Any]] = []
        every = dict.fromkeys(dict(tick.options).get("lr_factors", ()) for _, tick in self.ticks)
        for group in groups:
            alike: dict[tuple, list[Parameter]] = {}
            for p in group["params"]:
                alike.setdefault(tuple(_factor(of, self.names[id(p)]) for of in every), []).append(p)
            # The group with the rate itself comes first.
            ordered = sorted(alike.items(), key=lambda pair: any(factor != 1 for factor in pair[0]))
            split += [{**group, "params": params} for _, params in ordered] or [group]
        return split

    def apply(self, state: State, optimizer: Optimizer | None = None) -> dict[str, Any]:
        """Apply a state to the model and the optimiser; return the changes.

        The entries are "trained" and "frozen", the names of parameters that are so from now on; "settings", values by
        the names of the modules' attributes; and "lr" and "weight_decay" of the optimiser.  The optimiser's state for a
        parameter is kept while the parameter is frozen.

        Raises:
            ValueError: the plan is not bound to a model, or parameters of one group need different rates: see
                `param_groups`.
        """
        if self.model is None:
            raise ValueError("this plan is not bound to a model: type plan.bind(total_steps, steps_per_epoch, model)")
        self.plan._before.setdefault(self.model, {"trained": self.own_trained, "settings": self.own_settings})
        changed: dict[str, Any] = {"trained": [], "frozen": [], "settings": {}}
        for name, on in self._trained(state).items():
            if self.parameters[name].requires_grad != on:
                self.parameters[name].requires_grad = on
                changed["trained" if on else "frozen"].append(name)
        for (path, name), value in self._settings(state).items():
            module = self._modules[path, name][0]
            if getattr(module, name) != value:
                setattr(module, name, value)
                changed["settings"][f"{path}.{name}".lstrip(".")] = value
        if optimizer is not None:
            self._apply_to(optimizer, state, changed)
        return {key: value for key, value in changed.items() if value not in ([], {})}

    def _apply_to(self, optimizer: Optimizer, state: State, changed: dict[str, Any]) -> None:
        decayed = [group for group in optimizer.param_groups if group.get("name") != "no_decay"]
        if state.weight_decay is not None and any(group["weight_decay"] != state.weight_decay for group in decayed):
            changed["weight_decay"] = state.weight_decay
            for group in decayed:
                group["weight_decay"] = state.weight_decay
        if state.lr is not None:
            rates = [state.lr * factor for factor in self._factors(optimizer, state.lr_factors)]
            if rates != [group["lr"] for group in optimizer.param_groups]:
                changed["lr"] = state.lr
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate

    def _factors(self, optimizer: Optimizer, lr_factors: tuple[tuple[str, float], ...]) -> list[float]:
        """The factor of each group of an optimiser."""
        if self._regrouped[0] is not optimizer:
            self._regrouped = optimizer, {}
        if (known := self._regrouped[1].get(lr_factors)) is None:
            found = [
                {_factor(lr_factors, self.names.get(id(p), "")) for p in group["params"]} or {1.0}
                for group in optimizer.param_groups
            ]
            if any(len(of_one) > 1 for of_one in found):
                raise ValueError(
                    "parameters of one group of the optimiser have different lr_factors in the plan: make the "
                    "optimiser of bound.param_groups([{'params': model.parameters()}]), with bound = plan.bind(...)"
                )
            known = self._regrouped[1][lr_factors] = [of_one.pop() for of_one in found]
        return known

    def _trained(self, state: State) -> dict[str, bool]:
        """For each parameter whether it is trained in a state."""
        if (known := self._known_trained.get(state.frozen)) is None:
            known = dict(self.own_trained)
            for pattern, on in state.frozen:
                known.update({name: not on for name in known if match(pattern, name)})
            self._known_trained[state.frozen] = known
        return known

    def _settings(self, state: State) -> dict[tuple[str, str], Any]:
        """For each setting that the plan changes its value in a state."""
        values = {}
        for (path, name), value in self.own_settings.items():
            for setting in state.settings:
                if setting.name == name and setting.pattern in self._modules[path, name][1]:
                    value = setting.after(value)
            values[path, name] = value
        return values

    def changes(self, step: int) -> dict[str, Any]:
        """The changes that the plan makes at a step, with all names, as the run logs them; {} if there are none.

        The entries are those of `apply`, with "phase" and "batch_size" where they change, but without the learning
        rate, which each record has.  A setting that moves over several steps is listed under "moving" at its first
        step, and under "settings" at its last.
        """
        if step not in self.points:
            return {}
        now = self.state(step)
        before = self.state(step - 1) if step else None
        was = self._trained(before) if before else self.own_trained
        names = [name for name, on in self._trained(now).items() if on != was[name]]
        settings = self._settings(before) if before else self.own_settings
        changed = {
            "phase": now.phase if before is None or now.phase != before.phase else None,
            "trained": [name for name in names if not was[name]],
            "frozen": [name for name in names if was[name]],
            "settings": {
                f"{path}.{name}".lstrip("."): value
                for (path, name), value in self._settings(now).items()
                if value != settings[path, name]
            },
        }
        changed["moving"] = [
            change.told() for change in self.changes_of_settings if change.start == step and change.over
        ]
        for name in ("weight_decay", "batch_size"):
            value = getattr(now, name)
            changed[name] = value if before is None or value != getattr(before, name) else None
        return {key: value for key, value in changed.items() if value not in (None, [], {})}

    def plot(self) -> Any:
        """The plan as a matplotlib Figure: rates, what is frozen, settings and actions over the steps."""
        from .picture import plot_plan  # which needs matplotlib, an extra

        return plot_plan(self)


def _check_kind(title: str, change: Change, own: Any) -> None:
    """Raise TypeError or ValueError for a value of another type than the setting's, or a probability out of range."""
    ends: list[Any] = [change.value(0.0), change.value(1.0)] if callable(change.value) else [change.value]
    for value in ends:
        kinds: list[type] = [kind for kind in (bool, Integral, Real, str) if isinstance(own, kind)][:1] or [object]
        wanted = Real if kinds == [Integral] and change.over else kinds[0]
        if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(own, bool):
            raise TypeError(
                f"{title} has {change.name}={own!r}, and cannot have {value!r}: give a value of the same type"
            )
        if (change.name == "p" or "dropout" in change.name) and not 0 <= value < 1:
            raise ValueError(
                f"{title}: {change.name}={value!r} is not a probability below 1: give 0 <= {change.name} < 1"
            )


def _factor(lr_factors: tuple[tuple[str, float], ...], name: str) -> float:
    return next((factor for pattern, factor in lr_factors if match(pattern, name)), 1.0)
