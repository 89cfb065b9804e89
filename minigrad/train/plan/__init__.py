"""A plan of a training run: at which of its steps the learning rate, what is trained, and the model's settings change.

    plan = (Plan()
            .phase("warm-up", until=0.1, freeze="bert.**", lr=linear(0, 2e-4))
            .phase("fine-tune", until=1.0, unfreeze="bert.encoder.layer.{3..5}.**", lr=cosine(2e-4, 0))
            .at("1 epoch", set("**.Dropout", p=0.2, over=200))
            .every(500, "evaluate", "save"))
    print(plan.table(total_steps=3000))

The state of the run is a function of the number of its steps alone.  Nothing is accumulated, so a plan can be printed,
drawn and tested before the run, and a run that is resumed at any step goes on in the state in which it was.
"""

from .bound import BoundPlan
from .changes import Change, Curve, Phase, Set, Setting, State, Tick, cosine, linear, set
from .plan import Plan
from .timeline import Timeline
