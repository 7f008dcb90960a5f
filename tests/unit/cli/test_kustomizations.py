"""`-k` takes what the machine's tool gives, and says what it said."""

from __future__ import annotations

from pathlib import Path

import pytest

from carob.cli import apply, kustomizations
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags

TOOL = """#!/bin/sh
[ "$2" = good ] && echo "$0 $*" | sed 's|.*/||' && exit
echo 'Error: must build at directory' >&2
exit 1
"""


def parsed(*given: str) -> Arguments:
    flags = Flags("carob apply")
    apply.add_flags(flags)
    return flags.parse(given)


def put(folder: Path, name: str) -> None:
    file = folder / name
    file.write_text(TOOL)
    file.chmod(0o755)


def test_kustomize_is_asked_before_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    put(tmp_path, "kubectl")
    arguments = parsed("-k", "good")
    kustomizations.take(arguments)
    (built,) = arguments.filename
    assert (built, built.text) == ("good", b"kubectl kustomize good\n")
    put(tmp_path, "kustomize")
    arguments = parsed("-k", "good")
    kustomizations.take(arguments)
    assert arguments.filename[0].text == b"kustomize build good\n"
    with pytest.raises(CommandError, match="error: must build at directory"):
        kustomizations.take(parsed("-k", "bad"))


def test_what_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="needs kustomize or kubectl"):
        kustomizations.take(parsed("-k", "good"))
    with pytest.raises(CommandError, match="only one of -f or -k"):
        kustomizations.take(parsed("-k", "good", "-f", "x"))
    with pytest.raises(CommandError, match="exactly one"):
        kustomizations.take(parsed("-k", "a", "-k", "b"))
