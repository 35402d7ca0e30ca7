"""Batches: every example once an epoch, in an order of (seed, epoch), shared by processes, and resumable."""

from __future__ import annotations

import pytest
import torch

from pipeline.data.batches import Batches, EpochOrder


def table(count: int = 23) -> dict[str, torch.Tensor]:
    numbers = torch.arange(count)
    return {"number": numbers, "square": numbers**2}


def numbers_of(batches: Batches) -> list[list[int]]:
    return [batch["number"].tolist() for batch in batches]


def at_epoch(epoch: int, seed: int = 0, count: int = 23) -> EpochOrder:
    order = EpochOrder(count, seed)
    order.set_epoch(epoch)
    return order


def test_every_example_comes_once_an_epoch_with_all_that_belongs_to_it() -> None:
    found = list(Batches(table(), 5, at_epoch(3)))
    assert [len(batch["number"]) for batch in found] == [5, 5, 5, 5, 3]
    together = torch.cat([batch["number"] for batch in found])
    assert sorted(together.tolist()) == list(range(23))
    assert torch.equal(torch.cat([batch["square"] for batch in found]), together**2)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    expected = numbers_of(Batches(table(), 5, at_epoch(2, seed=7)))
    torch.manual_seed(123)
    later = EpochOrder(23, 7)
    batches = Batches(table(), 5, later)
    for epoch in (0, 1, 2):
        later.set_epoch(epoch)
        found = numbers_of(batches)
    assert found == expected
    assert expected != numbers_of(Batches(table(), 5, at_epoch(2, seed=8)))
    assert expected != numbers_of(Batches(table(), 5, at_epoch(3, seed=7)))
    assert expected[0] != [0, 1, 2, 3, 4]


def test_without_an_order_examples_come_as_they_stand() -> None:
    assert numbers_of(Batches(table(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("count", "world", "lengths"),
    [(17, 1, [8, 8]), (18, 1, [8, 8, 2]), (18, 2, [4, 4]), (20, 2, [4, 4, 2]), (1, 1, [1]), (2, 2, [1])],
)
def test_no_process_gets_a_lone_example_after_full_batches(count: int, world: int, lengths: list[int]) -> None:
    batches = Batches(table(count), 8, at_epoch(0, count=count), 0, world)
    assert [len(numbers) for numbers in numbers_of(batches)] == lengths
    assert len(batches) == len(lengths)


def test_who_is_left_out_changes_with_the_epoch() -> None:
    for lengths in (None, torch.arange(17)):
        seen = set()
        for epoch in range(3):
            order = EpochOrder(17, 0, lengths, 8)
            order.set_epoch(epoch)
            seen |= {number for numbers in numbers_of(Batches(table(17), 8, order)) for number in numbers}
        assert seen == set(range(17))


@pytest.mark.parametrize(("count", "world"), [(24, 2), (23, 2), (25, 4), (8, 4), (4, 4)])
def test_shards_of_all_processes_together_are_the_global_batch(count: int, world: int) -> None:
    whole = numbers_of(Batches(table(count), 8, at_epoch(1, count=count)))
    shards = [numbers_of(Batches(table(count), 8, at_epoch(1, count=count), rank, world)) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1, "all processes take the same number of steps"
    for step, parts in enumerate(zip(*shards, strict=True)):
        assert len({len(part) for part in parts}) == 1, "all processes have equal shares"
        merged = sorted(number for part in parts for number in part)
        expected = sorted(whole[step][: len(merged)])
        assert merged == expected
    assert len(shards[0]) == len(whole) or len(whole[-1]) < world


def test_the_length_is_the_number_of_batches() -> None:
    for count in range(1, 40):
        for world in (1, 2, 4):
            batches = Batches(table(count), 8, at_epoch(0, count=count), 0, world)
            assert len(batches) == len(list(batches)), (count, world)


def test_evaluation_leaves_no_example_out_in_any_process() -> None:
    shards = [numbers_of(Batches(table(23), 8, None, rank, 2)) for rank in (0, 1)]
    assert sorted(number for shard in shards for batch in shard for number in batch) == list(range(23))


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_saved_state_goes_on_with_the_next_batch(stop: int) -> None:
    whole = numbers_of(Batches(table(), 5, at_epoch(4)))
    first = Batches(table(), 5, at_epoch(4))
    running = iter(first)
    for _ in range(stop):
        next(running)
    second = Batches(table(), 5, at_epoch(4))
    second.load_state_dict(first.state_dict())
    assert numbers_of(second) == whole[stop:]
    assert numbers_of(second) == whole, "the epoch after it is a whole one again"


def test_a_state_at_the_end_of_an_epoch_begins_the_next_one() -> None:
    first = Batches(table(), 5, at_epoch(0))
    list(first)
    second = Batches(table(), 5, at_epoch(1))
    second.load_state_dict(first.state_dict())
    assert len(numbers_of(second)) == 5


def test_a_batch_that_cannot_be_shared_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"batch_size: found 8, which 3 processes .* use a multiple of 3, such as 9"):
        Batches(table(), 8, at_epoch(0), 0, 3)


def test_batches_hold_examples_of_similar_length_and_come_in_any_order() -> None:
    lengths = torch.randint(1, 100, (1003,), generator=torch.Generator().manual_seed(0))
    order = EpochOrder(1003, 0, lengths, batch_size=10)
    found = numbers_of(Batches(table(1003), 10, order))
    assert sorted(number for batch in found for number in batch) == list(range(1003))
    assert [len(batch) for batch in found] == [10] * 100 + [3]
    spreads = [int(lengths[batch].max() - lengths[batch].min()) for batch in found[:-1]]
    assert sum(spreads) / len(spreads) < 5 < 80, "unsorted, a batch spreads over some 80"
    means = [float(lengths[batch].float().mean()) for batch in found]
    assert means != sorted(means)
    assert found == numbers_of(Batches(table(1003), 10, EpochOrder(1003, 0, lengths, batch_size=10)))
    order.set_epoch(1)
    assert found != numbers_of(Batches(table(1003), 10, order))


def test_among_equal_lengths_the_next_ones_decide() -> None:
    generator = torch.Generator().manual_seed(0)
    both = torch.stack([torch.randint(1, most, (1000,), generator=generator) for most in (6, 20)], dim=1)
    first = numbers_of(Batches(table(1000), 10, EpochOrder(1000, 0, both[:, 0], batch_size=10)))
    found = numbers_of(Batches(table(1000), 10, EpochOrder(1000, 0, both, batch_size=10)))
    assert sorted(number for batch in found for number in batch) == list(range(1000))
    assert [both[batch, 0].tolist() for batch in found] == [both[batch, 0].tolist() for batch in first]
    waste = [
        sum(float(both[batch, 1].max() - both[batch, 1].float().mean()) for batch in way) for way in (first, found)
    ]
    assert waste[1] < 0.35 * waste[0], "less padding in the second"
