"""Descriptions: fields by place and by name, defaults, and what another release wrote."""

from __future__ import annotations

import pytest

from carob.base.description import Description, fresh


class Inner(Description):
    name: str
    size: int = 1


class Outer(Description):
    name: str
    inner: list[Inner] = fresh(factory=list)
    labels: dict[str, str] = fresh(factory=dict)


def test_fields_are_given_by_place_and_by_name() -> None:
    one = Inner("a", size=2)
    assert (one.name, one.size) == ("a", 2)
    assert one == Inner(name="a", size=2) != Inner("a")
    assert repr(one) == "Inner(name='a', size=2)"


def test_every_object_has_lists_of_its_own() -> None:
    one, two = Outer("a"), Outer("b")
    one.inner.append(Inner("i"))
    one.labels["k"] = "v"
    assert (two.inner, two.labels) == ([], {})


def test_the_tree_goes_down_to_the_last() -> None:
    assert Outer("a", [Inner("i")]).tree() == {"name": "a", "inner": [{"name": "i", "size": 1}], "labels": {}}


def test_what_another_release_wrote_is_passed_over() -> None:
    assert Inner.known({"name": "a", "colour": "red"}) == Inner("a")


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("a",), {"name": "b"}), (("a", 1, 2), {}), (("a",), {"x": 1})]
)
def test_mistakes_are_type_errors(values: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="Inner"):
        Inner(*values, **named)  # type: ignore[arg-type]
