"""What `carob node add` understands."""

from __future__ import annotations

import pytest

from carob.cli.errors import CommandError
from carob.cli.nodes import parse_labels, parse_taints


def test_labels_and_taints() -> None:
    assert parse_labels(["a=b", "c="]) == {"a": "b", "c": ""}
    assert parse_taints(["k=v:NoSchedule", "k:NoExecute"]) == ["k=v:NoSchedule", "k:NoExecute"]


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(CommandError, match="is not KEY=VALUE"):
        parse_labels([text])


@pytest.mark.parametrize("text", ["k=v", "k=v:Sometimes", ":NoSchedule", "=v:NoSchedule"])
def test_what_is_no_taint(text: str) -> None:
    with pytest.raises(CommandError, match="is not KEY=VALUE:EFFECT"):
        parse_taints([text])
