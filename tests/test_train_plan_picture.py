"""The picture of a plan shows what the plan says."""

import numpy as np
import pytest
from test_train_plan import bert, of_net, of_the_issue

from minigrad.train.plan import Plan, set

pytest.importorskip("matplotlib")


def test_the_picture_has_a_panel_for_each_thing_that_is_planned():
    figure = of_net().every(5, "save").plot(40, 10)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["learning rate", "", "blend\n**.LayerNorm", "p\n**.Dropout", "weight_decay", "batch_size", ""]
    rates = figure.axes[0].lines[0]
    plan = of_net().bind(40, 10)
    np.testing.assert_array_equal(rates.get_ydata(), [plan.state(int(step)).lr for step in rates.get_xdata()])
    assert [text.get_text() for text in figure.axes[1].texts] == ["frozen", "trained"] * 2
    assert [list(line.get_xdata()) for line in figure.axes[-1].lines] == [list(range(5, 41, 5)), [30]]
    figure.canvas.draw()
    assert Plan().plot(10).axes


def test_what_is_frozen_is_a_bar_up_to_the_step_at_which_it_is_trained():
    bars = [(patch.get_x(), patch.get_width(), patch.get_y()) for patch in of_the_issue().plot(3000).axes[1].patches]
    assert bars[:3] == [(0, 3000, -0.3), (0, 300, 0.7), (300, 2700, 0.7)]


def test_with_a_model_a_setting_begins_at_the_models_own_value():
    plan = Plan().at(4, set("**.Dropout", p=0.3, over=4)).bind(10, 10, bert(1))
    line = plan.plot().axes[0].lines[0]
    np.testing.assert_allclose(
        line.get_ydata(), [0.1 + 0.2 * np.clip((step - 4) / 4, 0, 1) for step in line.get_xdata()]
    )
