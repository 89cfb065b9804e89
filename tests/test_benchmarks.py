"""The benchmarks compare like with like; nothing is timed here."""

import sys
from functools import cache
from importlib import import_module
from math import isnan, nan

import numpy as np
import pytest
import tiny_bert
from mpi import needs_mpi

from benchmarks import __main__ as command
from benchmarks import (
    bert_base,
    cnn,
    failures,
    few_labels,
    first_step,
    generation,
    gpt,
    gpu,
    gpu_steps,
    kernels,
    layers,
    loading,
    lstm,
    minilm_step,
    mlp,
    one_op,
    pairing,
    peers,
    quantized,
    ranks,
    resnet,
    scaling,
    shots,
    shrunk,
    sizes,
    trainer,
    training,
)
from minigrad.backend.cpu import loops


def test_a_row_judges_by_the_middle_half_of_its_ratios():
    def verdict(*ratios, goal=1.2):
        return pairing.Row("w", ratios, [1.0] * len(ratios), goal).verdict

    assert verdict(1.0, 1.1, 1.1, 1.1, 9.0) == "met"
    assert verdict(1.3, 1.3, 1.31) == "not met"
    assert verdict(1.15, 1.2, 1.25) == "too noisy to tell"
    assert verdict(0.5, 0.8, 1.1) == "met, noisy"
    assert verdict(0.5, 0.8, 1.1, goal=None) == "noisy"
    assert pairing.Points("w", [80.0], [81.5], 1.0).verdict == "not met"


def test_a_row_judges_its_products_and_its_memory_too():
    row = pairing.Row(
        "w", [1.0, 1.0], [2.0, 2.0], 1.0, products=[0.5, 0.5], products_goal=1.25, memory=(3e8, 2e8), tokens=10
    )
    assert row.verdict == "met, not met (products), not met (memory)"
    assert row.cells()[-4:-1] == ["2.00, torch 4.00 (≤ 1.25)", "100 ms", "300 / 200 MB, 1.50"]


def test_the_table_lines_up():
    rows = [
        pairing.Row("a step", [2.0], [1.0], 1.25),
        pairing.Row("memory", [512e6, 512e6], [1024e6, 1024e6], unit="B"),
    ]
    lines = pairing.table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[3].split("|")[1:6]] == [
        "memory",
        "512 MB",
        "1024 MB torch",
        "0.50",
        "0.50 – 0.50",
    ]


def test_turns_alternate():
    calls = iter(range(100))
    assert pairing.in_turns(lambda: next(calls), lambda: next(calls), rounds=2) == [(2, 4), (3, 5)]


def count(start):
    yield
    yield [start]
    while True:
        start += 1
        yield start


def test_a_side_works_in_its_own_process():
    with pairing.sides(count, count, given=(5,)) as (a, b):
        assert a.numbers == b.numbers == [5]
        assert a() > 0 and a() > 0 and b() > 0
        assert (a.result, b.result) == (7, 6)
        assert a.process.pid != b.process.pid
    assert not a.process.is_alive()


def failing():
    yield
    raise ValueError("no such size")


def test_a_side_that_fails_is_told_as_such():
    with pytest.raises(SystemExit, match="its own error is printed above"):
        pairing.Side(failing)


def test_a_layer_there_is_not_is_refused():
    with pytest.raises(SystemExit, match="no layer 'Linear'; it has LSTM, GRU, RNN"):
        lstm.run(layer="Linear")


def test_sides_that_differ_are_not_compared():
    pairing.agree([1.0, 2.0], [1.0, 2.00001])
    pairing.agree([1.0, 2.0], None)
    for theirs in ([1.0, 2.1], [1.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="do not compute the same"):
            pairing.agree([1.0, 2.0], theirs)


def test_an_unknown_workload_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "one_opp"])
    with pytest.raises(SystemExit):
        command.main()
    assert f"no workload 'one_opp'; there are {', '.join(command.WORKLOADS)}" in capsys.readouterr().err


@pytest.mark.parametrize("case", one_op.CASES)
def test_one_op(case):
    pytest.importorskip("torch")
    ours, theirs = (side(case, True) for side in (one_op.with_minigrad, one_op.with_torch))
    next(ours), next(theirs)  # set up
    pairing.agree(next(ours), next(theirs))


SMALL = {
    mlp: dict(batch=4, inputs=5, width=6, classes=3),
    cnn: dict(batch=2, pixels=8, channels=2, width=5, classes=3),
    gpt: dict(batch=2, tokens=6, width=8, heads=2, layers=2, vocabulary=11),
    lstm: dict(layer="LSTM", steps=3, batch=2, width=4, classes=3),
    sizes: dict(batch=2, tokens=5, width=8, heads=2, classes=3),
}


@pytest.mark.parametrize(
    "workload, changed",
    [
        *(pytest.param(module, {}, id=module.__name__.partition(".")[2]) for module in SMALL),
        *(pytest.param(lstm, {"layer": layer}, id=layer) for layer in ("GRU", "RNN")),
    ],
)
def test_a_training_step(workload, changed):
    pytest.importorskip("torch")
    name, small = workload.__name__.partition(".")[2], SMALL[workload] | changed
    ours, theirs, products = (
        side(name, small) for side in (training.with_minigrad, training.with_torch, training.products_alone)
    )
    next(ours), next(theirs), next(products)  # set up
    losses = next(ours)
    assert len(set(losses)) == training.CHECKED
    pairing.agree(losses, next(theirs), 1e-5)
    assert next(products) is next(products) is next(ours) is next(theirs) is None


@pytest.mark.parametrize("workload", [bert_base, resnet], ids=["bert_base", "resnet"])
def test_a_forward_pass(workload, tmp_path):
    pytest.importorskip("transformers")
    from minigrad.pretrained import BertConfig, BertModel, ResNetConfig, ResNetForImageClassification

    if workload is bert_base:
        model = BertModel(BertConfig(**gpu_steps.TINY_BERT), rng=0)
    else:
        model = ResNetForImageClassification(ResNetConfig(**gpu_steps.TINY_RESNET), rng=0)
    model.save_pretrained(tmp_path / "model")
    given = (str(tmp_path / "model"), 2, 6 if workload is bert_base else 32)
    ours, theirs, products = (
        side(*given) for side in (workload.with_minigrad, workload.with_torch, workload.products_alone)
    )
    next(ours), next(theirs), next(products)  # set up
    pairing.agree(next(ours), next(theirs), 1e-5)
    assert next(products) is next(products) is next(ours) is next(theirs) is None


def test_the_trainer_and_the_loop_make_the_same_steps(tmp_path, monkeypatch):
    tiny_bert.save_model(tmp_path)
    monkeypatch.setattr(trainer, "BATCHES", 6)
    given = minilm_step.Step(str(tmp_path), batch=4, tokens=8)
    ours, theirs = trainer.trained(given), trainer.bare(given)
    next(ours), next(theirs)  # set up
    losses = next(theirs)
    assert next(ours) == pytest.approx(losses, rel=1e-5) and len(set(losses)) == trainer.CHECKED
    next(ours), next(theirs)
    for work in (trainer.saved(given), trainer.written(given)):
        assert [next(work), next(work), next(work)] == [None] * 3
        work.close()


@pytest.mark.parametrize("part", scaling.PARTS)
def test_a_part_of_a_layer(part):
    pytest.importorskip("torch")
    ours, theirs = scaling.passes_of_minigrad(part, 7), scaling.passes_of_torch(part, 7)
    next(ours), next(theirs)  # set up
    pairing.agree(next(ours), next(theirs), 1e-5)


def test_other_sizes_are_of_workloads_that_have_them(monkeypatch):
    asked = []
    for module in {name for name, _ in sizes.CHANGED}:
        monkeypatch.setattr(
            f"benchmarks.{module}.run", lambda rounds, name=module, **changed: [asked.append((name, changed))]
        )
    monkeypatch.setattr(sizes, "measured", lambda *given: given)
    assert len(sizes.run()) == len(asked) + 1 and asked == sizes.CHANGED
    assert all(changed.keys() <= import_module(f"benchmarks.{name}").SIZES.keys() for name, changed in asked)


def test_growth_is_told_from_fixed_costs():
    sizes = 256, 1024, 2048, 4096
    linear, quadratic = ([7e6 + n**power for n in sizes] for power in (1, 2))
    assert scaling.exponent(sizes, linear) == pytest.approx(1)
    assert 1.7 < scaling.exponent(sizes, quadratic) < 2
    assert isnan(scaling.exponent(sizes, [nan] * 4))
    assert [scaling.Growth("w", sizes, costs, linear).cells()[-1] for costs in (linear, quadratic, [nan] * 4)] == [
        "linear",
        "not linear",
        "unknown",
    ]
    assert len(scaling.Growth("w", sizes, linear, linear).cells()) == len(pairing.HEADINGS)


@cache
def missing(name):
    return peers.PEERS[name].missing()


@pytest.mark.parametrize(
    "name, workload", [(name, model) for name, peer in peers.PEERS.items() for model in peer.workloads]
)
def test_a_peer_s_training_step(name, workload, tmp_path, monkeypatch):
    if missing(name):
        pytest.skip(missing(name))
    for variable, value in peers.ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    sizes, file = SMALL[getattr(sys.modules["benchmarks"], workload)], str(tmp_path / "file.npz")
    peers.save(workload, sizes, file)
    for work in peers.PEERS[name].ways.values():
        ours, theirs = training.with_minigrad(workload, sizes), work(workload, sizes, file)
        next(ours), next(theirs)  # set up
        pairing.agree(next(ours), next(theirs), 1e-5)
        assert next(theirs) is next(theirs) is None


def test_a_peer_that_cannot_be_used_is_a_row_that_says_so(monkeypatch):
    absent = peers.Peer(("mlp",), "import no_such_library", "pip install it", {"no such": None})
    monkeypatch.setattr(peers, "PEERS", {"no such": absent})
    monkeypatch.setattr(peers, "ENVIRONMENT", {})
    monkeypatch.setattr(peers, "save", lambda *given: None)
    (row,) = peers.run()
    assert row.cells()[0] == "no such"
    assert row.cells()[-1] == "not here (ModuleNotFoundError: No module named 'no_such_library'); type: pip install it"


def test_a_module_may_have_a_table_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(command, "fix_threads", lambda count: None)
    for module in mlp, scaling:
        monkeypatch.setattr(module, "run", lambda name=module.__name__: [pairing.Row(name, [1.0], [2.0])])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "mlp", "scaling"])
    command.main()
    first, second = capsys.readouterr().out.split("\n## Cost against size\n")
    assert "| benchmarks.mlp " in first and "| benchmarks.scaling " in second


def test_the_products_of_a_step_are_those_that_training_needs():
    assert (
        training.linear(5, 3, 2) == [(5, 3, 2), (2, 5, 3), (5, 2, 3)] and len(training.linear(5, 3, 2, first=True)) == 2
    )
    operations = {
        module: sum(2 * m * k * n for *_, m, k, n in module.products(**module.SIZES)) for module in (mlp, gpt)
    }
    assert operations[mlp] == 2 * 128 * (2 * 784 * 512 + 3 * 512 * 512 + 3 * 512 * 10)
    attention = sum(2 * m * k * n for *_, m, k, n in training.attention(4, 6, 256, 64, is_causal=True))
    assert operations[gpt] == 6 * (2 * 3 * 1024 * 12 * 384**2 + attention) + 2 * 3 * 1024 * 384 * 8192


@pytest.mark.parametrize("case", range(len(layers.CASES)), ids=lambda case: layers.CASES[case][0])
def test_a_layer(case, monkeypatch):
    pytest.importorskip("torch")
    small = [
        (*rest, (2, *shape[1:2], 9, 9) if len(shape) == 4 else (3, 2, *shape[2:])) for *rest, shape in layers.CASES
    ]
    monkeypatch.setattr(layers, "CASES", small)
    ours, theirs = layers.with_minigrad(case), layers.with_torch(case)
    next(ours), next(theirs)  # set up
    pairing.agree(next(ours), next(theirs), 1e-3)


@pytest.mark.parametrize("case", [*kernels.CASES, *kernels.LABELLED, *kernels.STEPS])
def test_a_kernel_alone(case, monkeypatch):
    pytest.importorskip("torch")
    few = lambda shape: tuple(min(n, 16) for n in shape)  # noqa: E731
    small = {name: (op, tuple(map(few, shapes))) for name, (op, shapes) in kernels.CASES.items()}
    labelled = {name: (op, few(shape), few(ids), 16) for name, (op, shape, ids, _) in kernels.LABELLED.items()}
    for name, value in (("CASES", small), ("LABELLED", labelled), ("WEIGHTS", 10_000)):
        monkeypatch.setattr(kernels, name, value)
    ours, theirs = kernels.with_minigrad(case), kernels.with_torch(case)
    next(ours), next(theirs)  # set up
    pairing.agree(next(ours), next(theirs), 1e-4)
    assert next(ours) is next(theirs) is None


def test_first_steps_are_compared_by_what_they_take_more():
    assert first_step.Difference("w", [5.0, 5.0], [4.0, 4.0], 1.5).verdict == "met"
    assert first_step.Difference("w", [6.0, 6.0], [4.0, 4.0], 1.5).verdict == "not met"
    code = "import os; assert os.environ['MINIGRAD_LOOPS'] == '0'"
    assert 0 < first_step.seconds(code, False, "") < 60


def test_the_suite_runs_with_and_without_compiled_kernels(monkeypatch, capsys):
    monkeypatch.setenv("MINIGRAD_LOOPS", "1")
    monkeypatch.setattr(command, "fix_threads", lambda count: None)
    monkeypatch.setattr(mlp, "run", lambda: [pairing.Row("a step", [1.0], [2.0])])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "mlp", "--loops", "both"])
    command.main()
    told = capsys.readouterr().out
    assert told.count("| a step") == 2 and "NumPy's kernels" in told and "products by" in told
    loops.available.cache_clear()


def test_minilm_step(tmp_path):
    pytest.importorskip("transformers")
    from minigrad.pretrained import BertForSequenceClassification
    from minigrad.pretrained.bert import BertConfig

    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
        num_labels=minilm_step.LABELS,
    )
    BertForSequenceClassification(config, rng=0).save_pretrained(tmp_path / "model")
    step = minilm_step.Step(str(tmp_path / "model"), batch=3, tokens=8)
    ours, theirs, products = (
        minilm_step.with_minigrad(step),
        minilm_step.with_torch(step),
        minilm_step.products_alone(step),
    )
    next(ours), next(theirs), next(products)  # set up
    losses = next(ours)
    assert len(set(losses)) == 3  # the steps change the model
    pairing.agree(losses, next(theirs))
    assert next(ours) != losses[-1] and next(products) is next(products) is None


def test_generation(tmp_path):
    pytest.importorskip("transformers")
    from minigrad.pretrained import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    GPT2LMHeadModel(config, rng=0).save_pretrained(tmp_path / "model")
    given, works = (
        generation.Writing(str(tmp_path / "model"), prompt=5, new=7),
        (generation.with_minigrad, generation.with_torch, generation.products_alone),
    )
    ours, theirs, products = (work(given) for work in works)
    next(ours), next(theirs), next(products)  # set up
    tokens = next(ours)
    assert len(tokens) == 12
    pairing.agree(tokens, next(theirs), 0)
    assert next(ours) is next(products) is next(products) is None


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_quantised_models_write_and_read_and_say_how_long_the_processor_took(kind, tmp_path):
    from minigrad.pretrained import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2), rng=0).save_pretrained(
        tmp_path / "gpt2"
    )
    GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2", quantize=kind).save_pretrained(tmp_path / "gpt2" / kind)
    given = generation.Writing(str(tmp_path / "gpt2"), prompt=3, new=4)
    units = quantized.by_processor(quantized.writing, given, kind)
    assert [next(units), next(units)] == [None, None] and next(units) > 0
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config, rng=0).save_pretrained(tmp_path / "float32")
    BertModel.from_pretrained(tmp_path / "float32", quantize=kind).save_pretrained(tmp_path / kind)
    floats, few = (quantized.reading(str(tmp_path), 2, 5, one) for one in ("float32", kind))
    assert next(floats) is next(few) is None and len(next(floats)) == 32 and next(few) is None
    assert next(few) is None


def test_what_is_removed_is_measured_beside_the_whole(tmp_path):
    from minigrad.pretrained import BertConfig, BertModel

    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    BertModel(config, rng=0).save_pretrained(tmp_path)
    rows = shrunk.run(rounds=2, batch=1, tokens=5, directory=tmp_path)
    assert [row.workload.partition(",")[0] for row in rows] == [f"{name} gone" for name in shrunk.LEFT_OUT]
    left = 4 * 16 * 8 + 2 * 16 * 32 + 2 * 5 * 8, 4 * 16 * 16 + 2 * 16 * 32 + 2 * 5 * 16
    assert rows[0].goal == pytest.approx(1.15 * left[0] / left[1], abs=0.005) and rows[3].goal == pytest.approx(
        1.15 / 2, abs=0.006
    )
    assert all(len(row.ratios) == 2 for row in rows)


def test_loading(tmp_path):
    pytest.importorskip("transformers")
    from minigrad.pretrained import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
    )
    model = BertModel(config, rng=0)
    model.save_pretrained(tmp_path / "model")
    for look in False, True:
        works = [
            work(str(tmp_path / "model"), look)
            for work in (
                loading.minigrad_arrays,
                loading.torch_tensors,
                loading.minigrad_model,
                loading.transformers_model,
            )
        ]
        for work in works:
            next(work)  # set up
        expected = [loading.total(t.numpy()) for _, t in sorted(model.state_dict().items())]
        for work in works:
            pairing.agree(expected, next(work), 1e-6)
            assert next(work) is next(work) is None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("workload", gpu_steps.SIZES)
def test_steps_for_a_gpu(workload, precision, tmp_path):
    """Both sides do the same, here without a GPU; and say why there is no CUDA graph."""
    pytest.importorskip("transformers")
    case = gpu_steps.Case(workload, precision, str(tmp_path / "model"), tiny=True, device="cpu")
    gpu_steps.save_model(case)
    ours, theirs = gpu_steps.with_minigrad(case), gpu_steps.with_torch(case)
    next(ours), next(theirs)  # set up
    losses = next(ours)
    assert len(set(losses)) == 3
    pairing.agree(losses, next(theirs), gpu.TOLERANCES[precision])
    assert next(ours) is next(theirs) is None and "Error" in next(ours) and "Error" in next(theirs)


def test_without_a_gpu_one_sentence_says_so(capsys):
    from minigrad.backend import cuda

    if not cuda.missing():
        pytest.skip("there is one")
    assert gpu.main([]) == 1
    out = capsys.readouterr().out
    assert (
        out.startswith("There is no GPU to measure here: ") and "type: make test-cupy" in out and out.count("\n") == 1
    )


def test_the_gpu_script_s_parts(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["sped"])
    assert "no part 'sped'; there are tests, sanitizer, speed" in capsys.readouterr().err
    assert gpu.outcome([sys.executable, "-c", "print('12 passed')"], 60) == "passed: 12 passed"
    assert (
        gpu.outcome([sys.executable, "-c", "print('boom'); print('1 failed'); exit(1)"], 60)
        == "FAILED: 1 failed\n      boom"
    )
    assert (
        gpu.outcome([sys.executable, "-c", "import time; time.sleep(9)"], 0.2)
        == "not finished after 0.2 s, and stopped"
    )
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    monkeypatch.setattr(gpu, "outcome", lambda command, seconds: " ".join(command[:3]))
    assert gpu.sanitizer(None).splitlines()[1] == "- racecheck: compute-sanitizer --tool racecheck"


def test_shots_are_drawn_in_order_and_masked_words_are_marked(tmp_path):
    """Fewer shots are part of more; the masked places are those that differ; a cell has mean and spread."""
    pytest.importorskip("tokenizers")
    from minigrad.data import Example
    from minigrad.pretrained import AutoTokenizer

    pool = [Example(f"{name} {i}", name) for name in shots.WORDS for i in range(9)]
    few, more = (shots.drawn(pool, n, seed=3) for n in (2, 5))
    assert set(few) < set(more) and [example.label for example in few] == [name for name in shots.WORDS for _ in "ab"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert.save_model(tmp_path))
    ids = tokenizer([" ".join(["oven", "drum"] * 20)] * 40)["input_ids"]
    masked, places = shots.masked(ids, tokenizer, np.random.default_rng(0), others=5)
    changed = np.nonzero(masked != ids)
    assert set(zip(*changed, strict=True)) <= set(zip(*places, strict=True))
    assert 0.25 < len(places[0]) / ids.size < 0.35 and 0.75 < (masked[places] == tokenizer.mask_token_id).mean() < 0.85
    assert not np.isin(ids[places], tokenizer.all_special_ids).any()
    assert shots.cell([]) == "–" and shots.cell([0.5]) == "0.500" and shots.cell([0.4, 0.6]) == "0.500 ± 0.141"


def test_few_labels_draws_what_is_labelled_apart_from_the_test():
    pytest.importorskip("sklearn")
    _, labels = few_labels.digits()
    (first, test), (second, again) = (few_labels.halves(labels, seed, 8) for seed in (0, 1))
    assert (test == again).all() and len(test) == 360 and set(first) != set(second)
    assert not set(first) & set(test) and [(labels[first] == digit).sum() for digit in range(10)] == [8] * 10
    told = few_labels.mixup(seeds=[0, 1], steps=1)
    assert told.count("±") == 3 and "| mixup, alpha 1 |" in told


STEP = {"forward": [(0.0, 1.0)], "backward": [(1.0, 3.0)], "update": [(3.0, 4.5)]}


def test_what_is_summed_before_the_backward_pass_ends_is_hidden():
    sums = [(1.5, 1.5, 2.5, 8), (2.0, 2.5, 3.5, 8), (2.9, 3.5, 4.0, 8)]
    assert ranks.hidden({**STEP, "sums": sums}) == (1 + 0.5) / (1 + 1 + 0.5)


def test_ranks_are_as_fast_as_the_network_lets_them_be():
    curves = ranks.curves({**STEP, "sums": [(2.0, 2.0, 2.5, 1 << 30), (3.0, 3.0, 4.0, 8)]})
    for same_each, same_all in curves.values():
        assert same_each[0] == same_all[0] == 1
        assert all(fast <= n for fast, n in zip(same_each, ranks.CURVE))
        assert all(part < each for part, each in zip(same_all[1:], same_each[1:]))
    assert curves["infiniband400"][0][-1] > 60, "a sum of 43 ms, while the backward pass goes on for another second"
    assert curves["ethernet1"][0][-1] < 20


@needs_mpi
@pytest.mark.slow
def test_ranks_that_fail_end_all_and_the_run_goes_on(tmp_path):
    """A few kinds of failure at fixed moments; `python -m benchmarks.failures` draws a hundred."""
    for what, rank in (("raises", 1), ("is killed", 0), ("hangs", 1), ("has another version", 1)):
        found = failures.inject(tmp_path / "run", 2, what, rank, 0.1)
        assert not found.reached_the_end and not found.hung and not found.torn and found.told, str(found)
    assert failures.inject(tmp_path / "run", 2, "nothing", 0, 0.0).reached_the_end
    assert failures.inject(tmp_path / "whole", 2, "nothing", 0, 0.0).reached_the_end
    ends = [tmp_path / name / f"checkpoint-{failures.STEPS}" for name in ("run", "whole")]
    assert failures.furthest(*ends) == 0
