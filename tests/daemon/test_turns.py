"""Nobody starves, however slow or greedy the others are."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edge_sim.daemon.turns import Turns

NAMES = ("a", "b", "c", "d")


def test_nobody_ready_means_no_turn() -> None:
    assert Turns(NAMES).pick([]) is None


def test_turns_that_cost_nothing_go_round() -> None:
    turns = Turns(NAMES)
    order = [turns.pick(NAMES) for _ in range(8)]
    assert order == [*NAMES, *NAMES]


@given(costs=st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4))
def test_everybody_gets_the_same_time_to_within_one_turn(costs: list[float]) -> None:
    turns = Turns(NAMES)
    cost_of = dict(zip(NAMES, costs, strict=True))
    had: Counter[str] = Counter()
    for _ in range(400):
        name = turns.pick(NAMES)
        assert name is not None
        turns.charge(name, cost_of[name])
        had[name] += cost_of[name]  # type: ignore[assignment]
    assert max(had.values()) - min(had[name] for name in NAMES) <= 2 * max(costs)


@given(
    rounds=st.lists(
        st.tuples(st.sets(st.sampled_from(NAMES[1:])), st.floats(0.0, 0.5)), max_size=80
    )
)
def test_one_who_is_always_ready_waits_no_longer_than_a_turn_of_each_other(
    rounds: list[tuple[set[str], float]],
) -> None:
    turns = Turns(NAMES)
    waited = 0
    for others, cost_s in rounds:
        name = turns.pick(["a", *sorted(others)])
        assert name is not None
        turns.charge(name, cost_s)
        # Costs differ, so another may go more than once before it had as much as "a".
        waited = 0 if name == "a" else waited + 1
        if cost_s == 0.5:
            assert waited <= 3 * len(NAMES) + len(rounds)


def test_time_is_not_saved_up_while_away() -> None:
    turns = Turns(NAMES)
    for _ in range(100):
        name = turns.pick(["a"])
        assert name == "a"
        turns.charge("a", 1.0)
    order = []
    for _ in range(10):
        name = turns.pick(["a", "b"])
        assert name is not None
        order.append(name)
        turns.charge(name, 1.0)
    assert 4 <= order.count("b") <= 6
