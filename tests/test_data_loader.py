"""The laws of the loader: each item once, an order fixed by (seed, epoch), little padding when grouped by length."""

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.data import RandomSampler, Subset, WeightedRandomSampler
from minigrad.data.loader import DataLoader


@given(
    n=st.integers(0, 300),
    batch_size=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    grouped=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_each_item_once_and_batches_full(n, batch_size, shuffle, drop_last, grouped, epoch):
    lengths = [(7 * i) % 13 for i in range(n)] if grouped else None
    loader = DataLoader(range(n), batch_size, shuffle, seed=1, drop_last=drop_last, lengths=lengths)
    batches = loader.batches(epoch)
    assert len(batches) == len(loader)
    assert sorted(map(len, batches), reverse=True)[: n // batch_size] == [batch_size] * (n // batch_size)
    seen = np.concatenate([np.zeros(0, int), *batches]).tolist()
    assert len(set(seen)) == len(seen) == (n - n % batch_size if drop_last else n)
    assert set(seen) <= set(range(n))


def test_the_order_depends_on_seed_and_epoch_alone():
    def passes(loader, epochs):
        return [[batch for batch in loader] for _ in range(epochs)]

    first = passes(DataLoader(range(50), 8, shuffle=True, seed=3), 3)
    assert first[0] != first[1] != first[2] != first[0]
    resumed = DataLoader(range(50), 8, shuffle=True, seed=3)
    next(iter(resumed))  # a pass that is broken off counts as begun
    assert resumed.epoch == 1
    assert passes(resumed, 2) == first[1:]
    resumed.epoch = 0
    assert passes(resumed, 1) == first[:1]
    assert passes(DataLoader(range(50), 8, shuffle=True, seed=4), 1) != first[:1]


def test_without_shuffle_the_order_is_the_datasets_own():
    loader = DataLoader("abcdefg", 3, collate="".join)
    assert list(loader) == list(loader) == ["abc", "def", "g"]


def test_grouping_by_length_saves_padding_and_stays_random():
    lengths = np.random.default_rng(0).integers(1, 100, 2000)

    def padding(loader):
        return sum(lengths[batch].max() * len(batch) - lengths[batch].sum() for batch in loader.batches(0))

    plain = DataLoader(lengths, 16, shuffle=True)
    grouped = DataLoader(lengths, 16, shuffle=True, lengths=lengths)
    assert padding(grouped) < 0.1 * padding(plain)
    longest = [lengths[batch].max() for batch in grouped.batches(0)]
    assert longest[:50] != sorted(longest[:50], reverse=True)
    assert {frozenset(b.tolist()) for b in grouped.batches(0)}.isdisjoint(
        frozenset(b.tolist()) for b in grouped.batches(1)
    )


def test_subset():
    subset = Subset("abcdef", [4, 0, 4])
    assert len(subset) == 3 and list(DataLoader(subset, 2)) == [["e", "a"], ["e"]]


def test_bad_arguments():
    with pytest.raises(ValueError, match="batch_size is 0; expected at least 1"):
        DataLoader("abc", 0)
    with pytest.raises(ValueError, match="2 lengths for 3 items; expected one per item"):
        DataLoader("abc", lengths=[1, 2])


# An iterable dataset.


class Lines:
    """Items one after the other, anew in each pass; with a generator, random ones."""

    def __init__(self, n, rng=None):
        self.n, self.rng, self.read = n, rng, []

    def __iter__(self):
        for i in range(self.n):
            self.read.append(i)
            yield i if self.rng is None else float(i + self.rng.random())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last, last", [(False, [[9]]), (True, [])])
def test_an_iterable_dataset_comes_in_its_own_order(workers, drop_last, last):
    loader = DataLoader(Lines(10), 3, drop_last=drop_last, num_workers=workers)
    assert list(loader) == list(loader) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], *last]
    assert loader.epoch == 2 and loader.position == 0
    with pytest.raises(TypeError):
        len(loader)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_an_iterable_dataset_goes_on_after_the_batch(workers, drawn, after):
    def new(seed):
        return DataLoader(Lines(14, np.random.default_rng(seed) if drawn else None), 3, num_workers=workers)

    whole, first, second = new(0), new(0), new(5)
    expected = [*whole, *whole]
    given = [batch for batch in islice(first, after)]
    saved = json.loads(json.dumps(first.state_dict()))
    second.load_state_dict(saved)
    assert [*given, *second, *second] == expected


def test_a_stream_is_read_no_further_than_asked():
    dataset = Lines(1000)
    next(iter(DataLoader(dataset, 2, num_workers=3, prefetch_factor=2)))
    assert len(dataset.read) <= 2 + 2 * 6  # a batch, and six ahead


def test_the_size_of_batches_changes_in_a_stream_that_is_read_ahead():
    for workers in (0, 2):
        loader = DataLoader(Lines(12), 2, num_workers=workers)
        batches = []
        for batch in loader:
            batches.append(batch)
            loader.batch_size = 2 + len(batches)
        assert batches == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]


def test_what_an_iterable_dataset_cannot_do_is_said():
    for more in ({"shuffle": True}, {"lengths": [1]}, {"multiprocessing_context": "spawn"}):
        with pytest.raises(ValueError, match="a Lines has no length and no items by index"):
            DataLoader(Lines(3), **more)
    with pytest.raises(TypeError, match="a list_iterator; expected .* begins anew in each pass"):
        DataLoader(iter([1, 2]))
    with pytest.raises(TypeError, match="the dataset is a int"):
        DataLoader(3)


def test_the_order_without_a_seed_is_that_of_mg_seed():
    """The same mg.seed, and after it the same calls, give the same order; a seed of its own stays what it is."""

    def order(drawn_from, **more):
        mg.seed(drawn_from)
        try:
            first = DataLoader(range(50), 8, shuffle=True, **more)
            return list(first), list(DataLoader(range(50), 8, shuffle=True, **more)), mg.rand((2,)).tolist()
        finally:
            mg.seed(None)

    assert order(1) == order(1)
    one, another, drawn = order(1)
    assert one != another and one != order(2)[0]
    assert order(1, seed=3)[:2] == order(2, seed=3)[:2]
    assert order(None)[0] == order(None)[1] == list(DataLoader(range(50), 8, shuffle=True, seed=0))
    mg.seed(1)
    try:
        DataLoader(range(50), 8)  # in the dataset's order: nothing is drawn
        untouched = mg.rand((2,)).tolist()
        mg.seed(1)
        assert mg.rand((2,)).tolist() == untouched != drawn
    finally:
        mg.seed(None)


def test_a_position_is_in_the_order_in_which_it_was_saved():
    """A loader that was given no seed goes on in the order of the saved one; one that was given another refuses."""
    mg.seed(1)
    try:
        loader = DataLoader(range(50), 8, shuffle=True)
    finally:
        mg.seed(None)
    batches = iter(loader)
    next(batches)
    again = DataLoader(range(50), 8, shuffle=True)
    again.load_state_dict(loader.state_dict())
    assert list(again) == list(batches)
    with pytest.raises(ValueError, match="seed was "):
        DataLoader(range(50), 8, shuffle=True, seed=9).load_state_dict(loader.state_dict())


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("collate_fn", "type collate=, a function of a list of items"),
        ("batch_sampler", r"give DataLoader\(Subset\(dataset, indices\), batch_size\)"),
        ("generator", "type seed=0"),
        ("pin_memory", "leave it out"),
        ("persistent_workers", "leave it out"),
        ("colate", "it has dataset, batch_size, shuffle, seed, collate"),
    ],
)
def test_torchs_arguments_that_are_not_here_name_what_is(argument, text):
    with pytest.raises(TypeError, match=f"DataLoader has no argument '{argument}': {text}"):
        DataLoader(range(3), **{argument: None})


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "prefetch_factor", "seed"])
@pytest.mark.parametrize("value", [2.5, 2.0, True, "2"])
def test_what_is_counted_is_a_whole_number(name, value):
    with pytest.raises(TypeError, match=f"{name} is {value!r}; expected a whole number of at least"):
        DataLoader(range(3), **{name: value})
    assert len(list(DataLoader(range(4), **{name: np.int64(2)}))) in (2, 4)


def test_there_is_no_loader_without_batches():
    with pytest.raises(TypeError, match="batch_size is None; .* for single items, loop over the dataset"):
        DataLoader(range(3), None)
    with pytest.raises(ValueError, match="seed is -1; expected at least 0"):
        DataLoader(range(3), seed=-1)


def test_a_sampler_says_which_items_a_pass_takes():
    assert list(DataLoader("abc", 2, sampler=[2, 0, 2])) == [["c", "a"], ["c"]]
    weighted = WeightedRandomSampler([1, 0, 3], 400)
    loader = DataLoader("abc", 8, sampler=weighted, seed=5)
    passes = ["".join(map("".join, loader)) for _ in range(2)]
    assert len(loader) == 50 and {*map(len, passes)} == {400} and passes[0] != passes[1]
    assert "b" not in passes[0] and 0.7 < passes[0].count("c") / 400 < 0.8
    assert "".join(map("".join, DataLoader("abc", 8, sampler=weighted, seed=5, num_workers=2))) == passes[0]
    mg.seed(1)
    first = DataLoader("abc", 8, sampler=weighted)
    mg.seed(1)
    assert list(DataLoader("abc", 8, sampler=weighted)) == list(first)
    mg.seed(None)


def test_a_pass_by_a_sampler_goes_on_where_it_was():
    def new(sampler):
        return DataLoader(range(9), 4, sampler=sampler, seed=2)

    loader, batches = new(RandomSampler(range(9), True, 30)), []
    for batch in loader:
        batches.append(batch)
        if len(batches) == 3:
            state = json.loads(json.dumps(loader.state_dict()))
    again = new(RandomSampler(range(9), True, 30))
    again.load_state_dict(state)
    assert list(again) == batches[3:] and again.epoch == 1
    with pytest.raises(ValueError, match="the saved position is in other batches: sampler was"):
        new(RandomSampler(range(9), False, 30)).load_state_dict(state)
    with pytest.raises(ValueError, match="the saved position is in other batches: sampler was"):
        new(None).load_state_dict(state)


def test_sampled_items_are_grouped_by_length_too():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    loader = DataLoader(lengths, 10, sampler=WeightedRandomSampler.balanced(lengths > 90), lengths=lengths, seed=0)
    batches = [lengths[batch] for batch in loader.batches(0)]
    assert 0.4 < np.mean(np.concatenate(batches) > 90) < 0.6
    assert np.mean([batch.max() - batch.min() for batch in batches]) < 5


def test_a_sampler_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="shuffle=True with a sampler"):
        DataLoader("abc", sampler=[1], shuffle=True)
    with pytest.raises(TypeError, match="the sampler is a generator; expected a list of indices"):
        DataLoader("abc", sampler=(i for i in range(3)))
    with pytest.raises(ValueError, match="indices from 1 to 3; expected 0 to 2, since the dataset has 3 items"):
        list(DataLoader("abc", sampler=[1, 3]))
    with pytest.raises(ValueError, match="cannot be shuffled, sampled"):
        DataLoader(iter_of_three(), sampler=[1])


class iter_of_three:
    def __iter__(self):
        return iter(range(3))


class Augmented:
    """Items that differ from epoch to epoch."""

    def __init__(self, epoch=0):
        self.epoch = epoch

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index + 100 * self.epoch

    def at_epoch(self, epoch):
        return Augmented(epoch)


class Doubled:
    """A user's own dataset around another."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return 2 * self.dataset[index]


def test_a_wrapped_dataset_differs_from_epoch_to_epoch_too():
    data = Doubled(Subset(Augmented(), [1, 2]))
    loader = DataLoader(data, 2)
    assert list(loader) == [[2, 4]] and list(loader) == [[202, 204]] and data[0] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_items_may_be_functions_of_the_epoch(workers):
    loader = DataLoader(Subset(mg.data.ConcatDataset([Augmented(), Augmented()]), [1, 7, 5]), 2, num_workers=workers)
    assert list(loader) == [[1, 1], [5]] and list(loader) == [[101, 101], [105]]
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    again = DataLoader(loader.dataset, 2)
    again.load_state_dict(state)
    assert list(again) == [[205]] and list(again) == [[301, 301], [305]]
