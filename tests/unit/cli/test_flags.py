"""Flags as pflag reads them, and its words for mistakes (compared with kubectl 1.37)."""

from __future__ import annotations

import pytest

from carob.cli.errors import CommandError
from carob.cli.flags import Flags, HelpWanted


@pytest.fixture
def flags() -> Flags:
    flags = Flags("carob get")
    flags.text("output", "o")
    flags.text("cascade", default="background", bare="background")
    flags.switch("watch", "w")
    flags.switch("stdin", "i")
    flags.switch("tty", "t")
    flags.switch("wait", default=True)
    flags.number("tail", default=-1)
    flags.duration("timeout", default=30.0)
    flags.texts("env")
    flags.csv("filename", "f")
    return flags


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["-o", "json"], "output", "json"),
        (["-ojson"], "output", "json"),
        (["-o=json"], "output", "json"),
        (["--output", "json"], "output", "json"),
        (["--output=a=b"], "output", "a=b"),
        (["--output", "-w"], "output", "-w"),
        (["-it"], "tty", True),
        (["-ito", "x"], "output", "x"),
        (["-w=false"], "watch", False),
        (["--wait=0"], "wait", False),
        (["--watch", "false"], "watch", True),
        (["--cascade"], "cascade", "background"),
        (["--cascade=orphan"], "cascade", "orphan"),
        (["--tail", "5"], "tail", 5),
        (["--tail=-1"], "tail", -1),
        (["--timeout", "1m30s"], "timeout", 90.0),
        (["--env", "a=1,2", "--env=b"], "env", ["a=1,2", "b"]),
        (["-f", "a,b", "-fc"], "filename", ["a", "b", "c"]),
        ([], "env", []),
        ([], "timeout", 30.0),
    ],
)
def test_values(flags: Flags, given: list[str], name: str, value: object) -> None:
    assert getattr(flags.parse(given), name) == value


def test_flags_and_words_mix_and_two_dashes_end_them(flags: Flags) -> None:
    parsed = flags.parse(["pod", "-i", "web", "-", "--", "ls", "-l", "--", "x"])
    assert parsed.words == ["pod", "web", "-", "ls", "-l", "--", "x"]
    assert parsed.dash == 3
    assert parsed.changed == {"stdin"}
    assert flags.parse(["pod"]).dash == -1


def test_underscores_are_dashes() -> None:
    flags = Flags("carob get")
    flags.switch("all-namespaces", "A")
    assert flags.parse(["--all_namespaces"]).all_namespaces is True


def test_lists_of_two_command_lines_are_not_shared(flags: Flags) -> None:
    flags.parse(["--env", "a"])
    assert flags.parse([]).env == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--foo=1"], "unknown flag: --foo"),
        (["-zx"], "unknown shorthand flag: 'z' in -zx"),
        (["-wzx"], "unknown shorthand flag: 'z' in -zx"),
        (["-o"], "flag needs an argument: 'o' in -o"),
        (["--output"], "flag needs an argument: --output"),
        (["--watch=7"], 'invalid argument "7" for "-w, --watch" flag: strconv.ParseBool: parsing "7": invalid syntax'),
        (["--tail=x"], 'invalid argument "x" for "--tail" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["--timeout=4"], 'invalid argument "4" for "--timeout" flag: time: missing unit in duration "4"'),
        (["---x"], "bad flag syntax: ---x"),
    ],
)
def test_mistakes(flags: Flags, given: list[str], words: str) -> None:
    with pytest.raises(CommandError) as caught:
        flags.parse(given)
    assert str(caught.value) == f"error: {words}\nSee 'carob get --help' for usage."


@pytest.mark.parametrize("given", [["--help"], ["-h"], ["x", "-wh"]])
def test_help_is_asked_for(flags: Flags, given: list[str]) -> None:
    with pytest.raises(HelpWanted):
        flags.parse(given)


def test_help_behind_two_dashes_is_a_word(flags: Flags) -> None:
    assert flags.parse(["--", "--help"]).words == ["--help"]
