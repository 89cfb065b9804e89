"""What must hold for the code to run on CuPy, as far as it can be asked without CuPy: see strict_cupy."""

import ast
import functools
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from every_layer import LAYERS, OPTIMIZERS, weights_after
from every_layer import run as run_layer
from strict_cupy import MANIFEST, xp
from two_backends import NAMED, NO_GRADIENT, assert_same, kernel_rows, only, run

import minigrad
from minigrad import backend, finetune, optim, pretrained
from minigrad.backend import Backend
from minigrad.backend.shared import layers
from minigrad.backend.shared import table as SHARED
from minigrad.parity.families import FAMILIES, example
from minigrad.tensor import Tensor


@pytest.fixture(scope="module", autouse=True)
def strict():
    """The strict stand-in as device "cuda"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "known", dict(backend.known))
        yield backend.register(
            Backend(
                name="cuda",
                xp=xp,
                array=strict_cupy.ndarray,
                to_numpy=lambda a: a.get(),
                erf=lambda a: strict_cupy.outside(np.vectorize(math.erf, otypes=[a.dtype])(a.get())),
                normal_cdf=functools.partial(layers.normal_cdf, xp),
                share=lambda work, pieces: list(map(work, pieces)),
                kernels={},
            )
        )


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("row", NAMED)
def test_what_an_op_means(row):
    second = row.op not in NO_GRADIENT
    with only("cpu", {}):
        assert_same(run(row, "f8", "cuda", second), run(row, "f8", "cpu", second), 1e-13)


@pytest.mark.parametrize("row", kernel_rows(SHARED))
def test_a_kernel_written_for_both(row):
    with only("cuda", SHARED), only("cpu", SHARED):
        assert_same(run(row, "f4", "cuda"), run(row, "f4", "cpu"), 1e-6)


@pytest.mark.parametrize("name", ["itself", "index", "slice", "T", "reshape", "split", "detach", "Tensor", "flip"])
def test_one_version_per_memory(name):
    w = Tensor(np.ones((4, 3)), requires_grad=True, device="cuda")
    part = {
        "itself": lambda: w,
        "index": lambda: w[1],
        "slice": lambda: w[1:, ::2],
        "T": lambda: w.T,
        "split": lambda: w[2:],
        "reshape": lambda: w.reshape(12),
        "detach": w.detach,
        "Tensor": lambda: Tensor(w.data),
        "flip": lambda: w[::-1],
    }[name]()
    x = Tensor(np.ones(part.shape), requires_grad=True, device="cuda")
    loss = (x * part).sum()
    w.copy_(2.0)
    with pytest.raises(RuntimeError, match="written into after the forward pass"):
        loss.backward()
    other = Tensor(np.ones((4, 3)), device="cuda")
    loss = (x * part).sum()
    other.copy_(2.0)
    loss.backward()
    with minigrad.no_grad():
        w -= 0.5
    assert w.numpy().tolist() == [[1.5] * 3] * 4


@pytest.mark.parametrize("table", [{}, SHARED], ids=["meaning", "kernels"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, table):
    make, *inputs = LAYERS[name]
    with only("cuda", table):
        for ours, numpys in zip(run_layer(make, inputs, "cuda"), run_layer(make, inputs, "cpu"), strict=True):
            np.testing.assert_allclose(ours, numpys, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda x: getattr(x, "__name__", ""))
def test_an_optimiser(kind, options):
    with only("cuda", SHARED):
        for ours, numpys in zip(weights_after(kind, options, "cuda"), weights_after(kind, options, "cpu"), strict=True):
            np.testing.assert_allclose(ours, numpys, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name, where):
    """Forward and backward of a model with each head, from ids that lie on the host and on the device."""
    family = FAMILIES[name]
    for head in family.heads:
        made = getattr(pretrained, family.prefix + head)
        model = made(made.config_class.from_dict(family.size), rng=0)
        inputs = example(family.kind, head, model.config)
        device = "cuda" if family.kind == "image" else where
        with only("cuda", SHARED):
            out = model.to("cuda")(**{name: Tensor(x, device=device) for name, x in inputs.items()})
            if getattr(out, "loss", None) is not None:
                out.loss.backward()


def test_a_prompt_and_a_probe(tmp_path):
    pytest.importorskip("tokenizers")
    from tiny_prompts import TEMPLATE, VERBALIZER, bert

    from minigrad.finetune import LinearProbe, PromptClassifier

    found, texts = [], ["the drum", "oven"]
    for device in ("cpu", "cuda"):
        model, tokenizer = bert(tmp_path)
        with only("cuda", SHARED):
            classifier = PromptClassifier(model.to(device), tokenizer, TEMPLATE, VERBALIZER).calibrate()
            probe = LinearProbe(model, tokenizer).fit([("the drum", "music"), ("oven", "cooking")])
            answers = [probe(texts)[0][name] for name in probe.classes]
            found.append((classifier.logits(texts), probe.features(texts), np.array(answers)))
    for ours, numpys in zip(*found, strict=True):
        np.testing.assert_allclose(ours, numpys, rtol=1e-4, atol=1e-5)


# The stand-in is strict

A, V = xp.asarray(np.arange(6, dtype="f4").reshape(2, 3)), xp.asarray(np.array([3, 1, 2], "f4"))
HOST = np.ones(3, "f4")
MISTAKES = {
    "operand of NumPy": lambda: A + HOST,
    "operand of NumPy, left": lambda: HOST + A,
    "0-d operand": lambda: A * np.array(2.0),
    "function of NumPy": lambda: np.sum(A),
    "ufunc of NumPy": lambda: np.exp(A),
    "np.concatenate": lambda: np.concatenate([A, A]),
    "np.zeros_like": lambda: np.zeros_like(A),
    "asarray": lambda: np.asarray(A),
    "array of parts": lambda: np.array([A[0], A[1]]),
    "argument of NumPy": lambda: xp.where(A > 0, A, np.zeros((2, 3))),
    "list of NumPy's": lambda: xp.stack([HOST, HOST]),
    "index of NumPy": lambda: A[np.array([0, 1])],
    "filled from NumPy": lambda: A.__setitem__(0, HOST),
    "filled from a list": lambda: A.__setitem__(0, [1, 2, 3]),
    "where= of a ufunc": lambda: xp.add(A, A, where=A > 1),
    "where= of a sum": lambda: A.sum(where=A > 1),
    "initial=": lambda: A.max(initial=0),
    "correction=": lambda: xp.var(A, correction=1),
    "clip(min=)": lambda: xp.clip(A, min=0),
    "a name": lambda: xp.vecdot(A, A),
    "errstate": lambda: xp.errstate(),
    "nditer": lambda: xp.nditer(A),
    "subtract.at": lambda: xp.subtract.at(V, xp.asarray([0]), 1.0),
    "accumulate": lambda: xp.maximum.accumulate(V),
    "multiply.at": lambda: xp.multiply.at(V, xp.asarray([0]), 1.0),
    "maximum.reduce": lambda: xp.maximum.reduce(V),
    "objects": lambda: xp.asarray([None]),
    "interface": lambda: A.__array_interface__,
    "ctypes": lambda: A.ctypes,
    "writeable": lambda: A.flags.writeable,
    "setflags": lambda: A.setflags(write=False),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_noticed(mistake):
    with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
        mistake()


def test_what_is_no_mistake():
    assert (
        isinstance(A.sum(), strict_cupy.ndarray) and isinstance(A[0, 0], strict_cupy.ndarray) and float(A.sum()) == 15
    )
    assert (np.float32(2) * A + 1.5).dtype == np.float32 and xp.asnumpy(A) is not A._array
    assert xp.add(A, A, out=A) is A
    A[...] = A / 2
    V_ = V.copy()
    xp.add.at(V_, xp.asarray([0, 0]), 1.0)
    assert V_.tolist() == [5, 1, 2] and xp.clip(V, 2, None).tolist() == [3, 2, 2]
    assert xp.lib.stride_tricks.sliding_window_view(V, 2).shape == (2, 2) and xp.linalg.norm(A).ndim == 0


# Whatever is asked of `xp` anywhere in the package, NumPy and CuPy both have

PACKAGE = Path(minigrad.__file__).parent
# Where np is what is meant, though a parameter may be called xp
NUMPY_ALONE = {
    PACKAGE / "backend" / "cpu" / name for name in ("__init__.py", "layers.py", "products.py", "attention.py")
}


def uses_of_xp(file):
    """(names after `xp.`, keywords of the call or None, line) for each use in a file."""
    tree = ast.parse(file.read_text("utf-8"))
    calls = {
        id(node.func): [keyword.arg for keyword in node.keywords]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            path, keywords, line = [], calls.get(id(node)), node.lineno
            while isinstance(node, ast.Attribute):
                path.insert(0, node.attr)
                node = node.value
            if isinstance(node, ast.Name) and node.id == "xp":
                yield path, keywords, line
            elif "xp" in path[:-1]:  # place.xp.zeros
                yield path[path.index("xp") + 1 :], keywords, line


def absent(path, keywords):
    """What of a use NumPy or CuPy lacks; None if both have it."""
    *modules, name = path
    module, known = ".".join(["cupy", *modules]), MANIFEST["modules"]["cupy"].get(path[0])
    if known == "ufunc" and modules:  # xp.add.at: where it is missing, the stand-in says so
        return None
    table, numpy = MANIFEST["modules"].get(module, {}), np
    for part in path:
        numpy = getattr(numpy, part, None)
    if name not in table or numpy is None and table[name] != "value":
        return f"{module}.{name}"
    taken = (
        table[name]
        if isinstance(table[name], list)
        else ["out", "dtype", "casting"]
        if table[name] == "ufunc"
        else None
    )
    try:
        theirs = [str(p).split("=")[0].split(":")[0] for p in inspect.signature(numpy).parameters.values()]
    except (TypeError, ValueError):
        theirs = None
    return next(
        (
            f"{module}.{name}({keyword}=)"
            for keyword in keywords or ()
            for signature in (taken, theirs)
            if keyword and signature is not None and not {keyword, "**kwargs"} & set(signature)
        ),
        None,
    )


def test_only_what_both_libraries_have_is_used():
    files = [file for file in PACKAGE.rglob("*.py") if file not in NUMPY_ALONE and file.parent.name != "cuda"]
    uses = [(file, use) for file in files for use in uses_of_xp(file)]
    assert len(uses) > 200  # they are found
    assert [
        f"{file.name}:{line} {lacking}" for file, (path, keywords, line) in uses if (lacking := absent(path, keywords))
    ] == []


@pytest.mark.parametrize(
    ("source", "lacking"),
    [
        ("xp.vecdot(a, b)", "cupy.vecdot"),
        ("place.xp.linalg.vector_norm(a)", "cupy.linalg.vector_norm"),
        ("xp.sum(a, where=b)", "cupy.sum(where=)"),
        ("xp.clip(a, min=0)", "cupy.clip(min=)"),
        ("xp.unstack(a)", "cupy.unstack"),
        ("xp.add(a, b, where=c)", "cupy.add(where=)"),
        ("xp.copyto(a, b, where=c)", None),
        ("xp.add.at(a, i, b)", None),
        ("home.xp.lib.stride_tricks.as_strided(a, shape=s)", None),
        ("xp.maximum(a, b, out=a)", None),
        ("xp.float32", None),
    ],
)
def test_the_lint_finds_what_is_absent(source, lacking, tmp_path):
    (tmp_path / "source.py").write_text(source, encoding="utf-8")
    assert [absent(path, keywords) for path, keywords, _ in uses_of_xp(tmp_path / "source.py")] == [lacking]


ADAPTERS = {
    "lora": finetune.LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.1, bias="all"),
    "dora": finetune.LoraConfig(r=2, target_modules=["c_attn", "wte"], use_dora=True),
    "ia3": finetune.IA3Config(),
    "bottleneck": finetune.BottleneckConfig(dropout=0.1),
    "bitfit": finetune.BitFitConfig(),
    "prompt": finetune.PromptTuningConfig(num_virtual_tokens=2, prompt_tuning_init="SAMPLE_VOCAB"),
    "prefix": finetune.PrefixTuningConfig(num_virtual_tokens=2),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_on_the_device(name, tmp_path):
    ids, found = np.arange(1, 11).reshape(2, 5), []
    for device in ("cpu", "cuda"):
        model = pretrained.GPT2LMHeadModel(
            pretrained.GPT2Config(n_embd=8, n_head=2, n_layer=2, vocab_size=20, n_positions=12), rng=0
        ).eval()
        model.to(device)
        finetune.get_peft_model(model, ADAPTERS[name], rng=1)
        optimizer = optim.AdamW(model.parameters(), lr=0.1)
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        found.append(model(ids).logits.numpy())
        assert {p.device for p in model.parameters()} == {device}
        if name in ("lora", "dora", "ia3"):
            model.merge_adapter()
            np.testing.assert_allclose(model(ids).logits.numpy(), found[-1], atol=1e-5)
            model.unmerge_adapter()
        if name == "lora":
            model.add_adapter("two", finetune.LoraConfig(r=2, target_modules=["c_attn"]), rng=2)
            for kind in ("svd", "cat"):
                model.add_weighted_adapter(["two"], [0.5], kind, kind)
        model.save_pretrained(tmp_path / device)
        again = pretrained.GPT2LMHeadModel(
            pretrained.GPT2Config(n_embd=8, n_head=2, n_layer=2, vocab_size=20, n_positions=12), rng=0
        ).eval()
        again = finetune.PeftModel.from_pretrained(again.to(device), tmp_path / device)
        np.testing.assert_allclose(again(ids).logits.numpy(), found[-1], atol=1e-6)
        again.to("cpu" if device == "cuda" else "cuda")
        np.testing.assert_allclose(again(ids).logits.numpy(), found[-1], atol=1e-5)
        if name in ("prompt", "prefix"):
            model.generate(ids, max_new_tokens=3, pad_token_id=0, eos_token_id=None, num_beams=2)
    np.testing.assert_allclose(*found, atol=1e-4)
