"""A plan of a training run: the steps at which the learning rate, the frozen parameters and module settings change.

    plan = (Plan()
            .phase("warm-up", until=0.1, freeze="bert.**", lr=linear(0, 2e-4))
            .phase("fine-tune", until=1.0, unfreeze="bert.encoder.layer.{3..5}.**", lr=cosine(2e-4, 0))
            .at("1 epoch", set("**.Dropout", p=0.2, over=200))
            .every(500, "evaluate", "save"))
    print(plan.table(total_steps=3000))

The planned state is a function of the step number alone.  Nothing is accumulated, so a plan can be printed, drawn and
tested before the run, and a run that is resumed at any step is in the same state as before.
"""

from .bound import BoundPlan
from .changes import Change, Curve, Phase, Set, Setting, State, Tick, cosine, cubic, linear, set
from .plan import Plan
from .timeline import Timeline
