"""Every verb explains itself, and mistakes in its name get a hint."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from carob.cli import GROUPS, run
from carob.cli.flags import Flags

VERBS = {verb: entry[0] for group in GROUPS.values() for verb, entry in group.items()}


def _inner() -> list[str]:
    found = []
    for verb, module in VERBS.items():
        for inner in getattr(importlib.import_module(f"carob.cli.{module}"), "VERBS", {}):
            found.append(f"{verb} {inner}")
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage:\n" in out
    assert f"  carob {verb}" in out
    assert "Examples:\n" in out
    assert out.splitlines()[0].endswith((".", "?"))


@pytest.mark.parametrize("verb", _inner())
def test_verbs_of_verbs_have_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), "--help"]) == 0
    assert f"  carob {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_no_two_flags_of_a_verb_share_a_letter(verb: str) -> None:
    module: Any = importlib.import_module(f"carob.cli.{VERBS[verb]}")
    if not hasattr(module, "add_flags"):
        return
    flags = Flags(verb)
    module.add_flags(flags)
    letters = [flag.short for flag in flags.all.values() if flag.short]
    assert len(letters) == len(set(letters))


def test_the_main_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["gett"], 'error: unknown command "gett" for "carob"\n\nDid you mean this?\n\tget\n'),
        (["frobnicate"], 'error: unknown command "frobnicate" for "carob"\n'),
        (["image", "frobnicate"], 'error: unknown command "frobnicate" for "carob image"\n'),
    ],
)
def test_unknown_verbs(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    assert capsys.readouterr().err.startswith(error)


def test_common_flags_may_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-n", "x", "--context=y", "get", "--frob"]) == 1
    assert capsys.readouterr().err.startswith("error: unknown flag: --frob\nSee 'carob get --help'")
