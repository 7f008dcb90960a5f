"""Variables from files that an earlier container has written. Source: KEP-3721, `util/env/env_util.go`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from carob.kubelet.env_file import EnvFileError, read, value_of
from carob.kubelet.environment import Sources, environment
from carob.kubelet.failures import StepFailure
from tests.unit.kubelet.pods import container, pod


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("KEY='val'", "val"),
        ("  # said before\n\n\t KEY='val'   \n", "val"),
        ("A='1'\nKEY='a#b=c $HOME ${X} \\n' # said behind\n", "a#b=c $HOME ${X} \\n"),
        ("KEY='first\n\n  third'\nA='1'", "first\n\n  third"),
        ("KEY='  spaces  '", "  spaces  "),
        ("A='1'\n", ""),
        ("KEY=''", ""),
        ("", ""),
    ],
)
def test_values(text: str, wanted: str) -> None:
    assert value_of(text, "KEY") == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("='a'", "at line 1"),
        ("A='1'\nno-equals-sign\n", "at line 2"),
        ("KEY ='a'", "whitespace before '=' is not allowed"),
        ("KEY=a", "value must be enclosed in single quotes"),
        ('KEY="a"', "value must be enclosed in single quotes"),
        ("KEY= 'a'", "value must be enclosed in single quotes"),
        ("KEY='a''b'", "unexpected content after closing quote"),
        ("KEY='a'b", "unexpected content after closing quote"),
        ("KEY='a\nB='1'", "unexpected content after closing quote"),
        ("KEY='a", "unclosed single quote"),
    ],
)
def test_mistakes(text: str, why: str) -> None:
    with pytest.raises(EnvFileError, match=why):
        value_of(text, "KEY")


def test_no_file_leads_out_of_its_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "sub").mkdir(parents=True)
    (volume / "sub/a.env").write_text("KEY='val'")
    (tmp_path / "secret").write_text("KEY='of the node'")
    (volume / "link").symlink_to(tmp_path / "secret")
    (volume / "folder").symlink_to(tmp_path)
    os.mkfifo(volume / "pipe")
    assert read(str(volume), "sub/a.env") == "KEY='val'"
    assert read(str(volume), "none.env") is None
    assert read(str(volume), "none/a.env") is None
    for path in ("link", "folder/secret", "pipe", "sub"):
        with pytest.raises((OSError, EnvFileError)):
            read(str(volume), path)


def variables(*env: dict[str, Any]) -> dict[str, str]:
    made = container(env=[{"name": f"V{i}", "valueFrom": {"fileKeyRef": one}} for i, one in enumerate(env)])
    files = {("v", "a.env"): "KEY='val'\nLONG='" + "x" * 40_000 + "'\n", ("v", "broken"): "KEY=1", ("v", "none"): None}
    return environment(pod(), made, Sources(files=files))


def test_variables_of_a_file() -> None:
    here = {"volumeName": "v", "path": "a.env"}
    none = {**here, "path": "none", "key": "KEY"}
    assert variables({**here, "key": "KEY"}, {**here, "key": "B", "optional": True}, {**none, "optional": True}) == {
        "V0": "val"
    }
    for reference, why in (
        ({**here, "key": "B"}, 'environment variable key "B" not found in file "a.env"'),
        ({**here, "key": "LONG"}, 'environment variable value for key "LONG" exceeds maximum size of 32KB'),
        (none, "couldn't parse env file"),
        ({**here, "path": "broken", "key": "KEY"}, "couldn't parse env file"),
    ):
        with pytest.raises(StepFailure) as caught:
            variables(reference)
        assert caught.value.message.startswith(why)
        assert caught.value.reason == "CreateContainerConfigError"
