"""The rules of sides by themselves, on texts that are mere names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.datasets.policy import Policy
from freehold.datasets.sides import Sides, Text, decide_sides

SIDES = ("train", "validation", "test")


def text(name: str, moment: int | None, *, human: bool = True) -> Text:
    return Text(fingerprint=name, last_seen=None if moment is None else f"{moment:04d}", is_human=human)


def decide(
    texts: list[Text],
    *,
    groups: dict[str, str] | None = None,
    declared: frozenset[str] = frozenset(),
    known: dict[str, str] | None = None,
    policy: Policy | None = None,
) -> Sides:
    group_of = {each.fingerprint: each.fingerprint for each in texts} | (groups or {})
    return decide_sides(texts, group_of=group_of, declared=declared, known=known or {}, policy=policy or Policy())


def test_the_latest_quarter_is_tested_on() -> None:
    sides = decide([text(f"t{n:02d}", n) for n in range(20)])
    assert sides.split_by == "time"
    assert {name for name, side in sides.side.items() if side == "test"} == {
        "t15",
        "t16",
        "t17",
        "t18",
        "t19",
    }
    assert sum(side == "validation" for side in sides.side.values()) == 2


def test_without_times_a_quarter_of_the_groups_is_chosen_by_hash() -> None:
    sides = decide([text(f"t{n:02d}", None) for n in range(40)])
    assert sides.split_by == "hash"
    counts = [sum(side == name for side in sides.side.values()) for name in SIDES]
    assert counts == [27, 3, 10]


def test_one_text_in_ten_without_a_time_still_splits_by_time_and_trains() -> None:
    sides = decide([text("a", None), *(text(f"t{n}", n) for n in range(9))])
    assert sides.split_by == "time"
    assert sides.side["a"] != "test"


def test_an_earlier_copy_of_a_late_text_leaves_the_dataset() -> None:
    sides = decide([text(f"t{n:02d}", n) for n in range(20)], groups={"t03": "g", "t19": "g", "t16": "g"})
    assert [sides.side[name] for name in ("t03", "t16", "t19")] == ["leak", "test", "test"]


def test_an_imported_test_set_is_the_only_one_and_its_copies_leave() -> None:
    texts = [text(f"t{n:02d}", n) for n in range(20)]
    sides = decide(texts, groups={"t03": "g", "t00": "g"}, declared=frozenset({"t00"}))
    assert sides.split_by == "declared"
    assert [name for name, side in sides.side.items() if side == "test"] == ["t00"]
    assert sides.side["t03"] == "leak"


def test_what_was_tested_on_before_never_trains_after_a_test_set_is_imported() -> None:
    texts = [text(f"t{n:02d}", n) for n in range(20)]
    sides = decide(texts, groups={"t05": "g", "t06": "g"}, declared=frozenset({"t00"}), known={"t05": "test"})
    assert [sides.side["t05"], sides.side["t06"]] == ["held-out", "held-out"]


def test_where_groups_grow_together_the_lower_side_leaves() -> None:
    known = {"a": "train", "b": "test", "c": "validation", "d": "train", "e": "train"}
    groups = {"a": "g", "b": "g", "n": "g", "c": "h", "d": "h", "m": "h", "e": "i", "k": "i"}
    texts = [text(name, 1) for name in "abcdemnk"] + [text("r", 1, human=False)]
    sides = decide(texts, groups={**groups, "r": "h"}, known=known)
    assert [sides.side[name] for name in "abn"] == ["leak", "test", "test"]
    assert [sides.side[name] for name in "cdmr"] == ["validation", "leak", "validation", "leak"]
    assert [sides.side[name] for name in "ek"] == ["train", "train"]


def test_a_new_earlier_copy_of_a_tested_text_leaves() -> None:
    texts = [
        text("old", 5),
        text("early", 4),
        text("late", 6),
        text("rented", 7, human=False),
        text("x", None),
    ]
    groups = dict.fromkeys(("old", "early", "late", "rented"), "g")
    sides = decide([*texts, *(text(f"t{n}", 1) for n in range(9))], groups=groups, known={"old": "test"})
    assert [sides.side[name] for name in ("old", "early", "late", "rented")] == [
        "test",
        "leak",
        "test",
        "leak",
    ]


def test_without_times_a_new_copy_of_a_tested_text_is_tested_on() -> None:
    sides = decide([text("old", None), text("new", None)], groups={"old": "g", "new": "g"}, known={"old": "test"})
    assert sides.side == {"old": "test", "new": "test"}


def test_a_group_whose_tested_text_is_gone_stays_out_of_training() -> None:
    sides = decide([text("new", 5)], groups={"gone": "g", "new": "g"}, known={"gone": "test"})
    assert sides.side == {"new": "test"}


def test_answers_that_nobody_checked_train_only_and_not_from_the_held_out_time() -> None:
    humans = [text(f"t{n:02d}", n) for n in range(20)]
    rented = [text("early", 3, human=False), text("late", 18, human=False), text("copy", 1, human=False)]
    sides = decide(humans + rented, groups={"copy": "t19", "t19": "t19"})
    assert [sides.side[name] for name in ("early", "late", "copy")] == ["train", "rented-output", "leak"]


def test_answers_that_nobody_checked_are_never_tested_on_without_times() -> None:
    humans = [text(f"t{n:02d}", None) for n in range(40)]
    rented = [text(f"r{n:02d}", None, human=False) for n in range(40)]
    sides = decide(humans + rented, groups={f"r{n:02d}": f"t{n:02d}" for n in range(20)})
    assert {sides.side[each.fingerprint] for each in rented} == {"train", "leak"}
    for n in range(20):
        expected = "train" if sides.side[f"t{n:02d}"] == "train" else "leak"
        assert sides.side[f"r{n:02d}"] == expected


worlds = st.lists(
    st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 99)), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(worlds, st.integers(0, 40), st.sets(st.integers(0, 39), max_size=3), st.booleans())
@settings(max_examples=300)
def test_no_group_straddles_and_no_text_ever_moves_from_test_to_train(
    world: list[tuple[int, int | None, bool]], first: int, chosen: set[int], is_declared: bool
) -> None:
    texts = [text(f"t{n:02d}", moment, human=human) for n, (_, moment, human) in enumerate(world)]
    groups = {f"t{n:02d}": f"g{group}" for n, (group, _, _) in enumerate(world)}
    declared = frozenset(f"t{n:02d}" for n in chosen if is_declared and n < len(texts))
    known: dict[str, str] = {}
    for part in (texts[:first], texts, texts):
        sides = decide(part, groups=groups, known=known, declared=declared if part is texts else frozenset())
        placed = {name: side for name, side in sides.side.items() if side in SIDES}
        for name, side in placed.items():
            others = {each for other, each in placed.items() if groups[other] == groups[name]}
            assert len(others) == 1
            assert known.get(name) != "test" or side == "test"
            assert known.get(name) in (None, side) or name in declared
        unchecked = {f"t{n:02d}" for n, (_, _, human) in enumerate(world) if not human} - declared
        assert all(placed.get(name, "train") == "train" for name in unchecked)
        last, known = sides, known | placed
    assert decide(texts, groups=groups, known=known, declared=declared) == last
