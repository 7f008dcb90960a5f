"""Capabilities, seccomp, signals, and what crun's words mean."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from carob.host.real import RealHost
from carob.runtime.embedded.capabilities import DEFAULT, NAMES, bounding_set, chosen, parse_mask
from carob.runtime.embedded.crun import explain, looks_like_refusal
from carob.runtime.embedded.endings import signal_number
from carob.runtime.embedded.seccomp import UNCONFINED, Filters, runtime_default
from carob.runtime.types import RuntimeFailure, SeccompProfile

EVERY = frozenset(NAMES)


def short(names: list[str]) -> set[str]:
    return {name.removeprefix("CAP_") for name in names}


def test_the_default_capabilities() -> None:
    assert set(chosen([], [], False, EVERY)) == set(DEFAULT)
    assert sum(1 << NAMES.index(name) for name in DEFAULT) == 0xA80425FB


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["NET_ADMIN"], ["ALL"], {"NET_ADMIN"}),
        (["net_admin"], ["all"], {"NET_ADMIN"}),
        (["CAP_NET_ADMIN"], ["ALL"], {"NET_ADMIN"}),
        (["ALL"], ["SYS_ADMIN"], short(list(NAMES)) - {"SYS_ADMIN"}),
        (["KILL"], ["KILL"], short(list(DEFAULT)) - {"KILL"}),
        ([], ["CHOWN", "UNKNOWN"], short(list(DEFAULT)) - {"CHOWN"}),
    ],
)
def test_capabilities_added_and_dropped(add: list[str], drop: list[str], expected: set[str]) -> None:
    assert short(chosen(add, drop, False, EVERY)) == expected


def test_never_more_than_the_machine_has() -> None:
    possible = EVERY - {"CAP_SYS_RESOURCE"}
    assert set(chosen([], [], True, possible)) == possible
    assert chosen(["SYS_RESOURCE"], ["ALL"], False, possible) == []


def test_the_bounding_set_is_read() -> None:
    assert bounding_set("Name:\tx\nCapBnd:\t0000000000000003\n") == {"CAP_CHOWN", "CAP_DAC_OVERRIDE"}
    assert parse_mask((1 << len(NAMES)) - 1) == EVERY


def allowed(profile: dict[str, object], call: str) -> bool:
    rules = profile["syscalls"]
    assert isinstance(rules, list)
    return any(call in rule["names"] and rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule for rule in rules)


def test_the_default_profile_goes_with_the_capabilities() -> None:
    plain = runtime_default(DEFAULT, "x86_64")
    assert plain["defaultAction"] == "SCMP_ACT_ERRNO"
    for call in ("read", "openat2", "chroot", "arch_prctl", "ptrace"):
        assert allowed(plain, call)
    for call in ("mount", "unshare", "clone", "setns", "bpf", "reboot", "keyctl", "io_uring_setup", "userfaultfd"):
        assert not allowed(plain, call)
    powerful = runtime_default([*DEFAULT, "CAP_SYS_ADMIN"], "x86_64")
    for call in ("mount", "unshare", "clone", "clone3"):
        assert allowed(powerful, call)
    arm = runtime_default(DEFAULT, "aarch64")
    assert not allowed(arm, "arch_prctl")
    assert arm["architectures"][0] == "SCMP_ARCH_AARCH64"


def test_a_filter_is_compiled_once_and_then_ready(tmp_path: Path) -> None:
    async def body() -> None:
        tool = tmp_path / "crun"
        tool.write_text("")
        filters = Filters(RealHost(), str(tmp_path / "cache"), str(tool))
        compiled = tmp_path / "seccomp.bpf"
        compiled.write_bytes(b"12345678" * 3)
        profiles = []

        async def one() -> None:
            async with filters.use(SeccompProfile(), False, DEFAULT) as used:
                profiles.append(used.profile is not None)
                await asyncio.sleep(0)
                filters.harvest(used, str(compiled))

        await asyncio.gather(*(one() for _ in range(5)))
        assert profiles == [True, False, False, False, False]
        again = Filters(RealHost(), str(tmp_path / "cache"), str(tool))
        async with again.use(SeccompProfile(), False, DEFAULT) as used:
            assert used.bpf
        async with again.use(SeccompProfile(), False, [*DEFAULT, "CAP_SYS_ADMIN"]) as used:
            assert used.profile
        async with again.use(SeccompProfile(), True, DEFAULT) as used:
            assert used == UNCONFINED
        async with again.use(SeccompProfile(kind="Unconfined"), False, DEFAULT) as used:
            assert used == UNCONFINED

    asyncio.run(body())


def test_a_crun_that_leaves_no_filter_is_not_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        tool = tmp_path / "crun"
        tool.write_text("")
        filters = Filters(RealHost(), str(tmp_path / "cache"), str(tool))
        async with filters.use(SeccompProfile(), False, DEFAULT) as used:
            filters.harvest(used, str(tmp_path / "none"))
        async with (
            filters.use(SeccompProfile(), False, DEFAULT) as first,
            filters.use(SeccompProfile(), False, DEFAULT) as second,
        ):
            assert first.profile == second.profile is not None

    asyncio.run(body())


def test_a_localhost_profile_must_be_readable(tmp_path: Path) -> None:
    async def body() -> None:
        tool = tmp_path / "crun"
        tool.write_text("")
        filters = Filters(RealHost(), str(tmp_path / "cache"), str(tool))
        missing = SeccompProfile(kind="Localhost", localhost_path=str(tmp_path / "none.json"))
        with pytest.raises(
            RuntimeFailure, match=r"^cannot load seccomp .*/none\.json\": open .*/none\.json: no such file or "
        ):
            async with filters.use(missing, False, DEFAULT):
                pass
        (tmp_path / "mine.json").write_text('{"defaultAction": "SCMP_ACT_LOG"}')
        mine = SeccompProfile(kind="Localhost", localhost_path=str(tmp_path / "mine.json"))
        async with filters.use(mine, False, DEFAULT) as used:
            assert used.profile == {"defaultAction": "SCMP_ACT_LOG"}

    asyncio.run(body())


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("", 15), ("NOPE", 15), ("0", 15)],
)
def test_stop_signals(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    ("said", "command", "code", "words"),
    [
        (
            "executable file `x` not found in $PATH: No such file",
            "x",
            127,
            'exec: "x": executable file not found in $PATH',
        ),
        (
            "executable file `/x` not found in $PATH: No such",
            "/x",
            127,
            'exec: "/x": stat /x: no such file or directory',
        ),
        ("open executable: Permission denied", "/p", 126, 'exec: "/p": permission denied'),
        ("open executable: Operation not permitted", "/d", 126, 'exec: "/d": is a directory'),
        ("exec container process `/s`: Exec format error", "/s", 126, "exec /s: exec format error"),
        ("something else", "x", 128, "something else"),
    ],
)
def test_words_of_crun(said: str, command: str, code: int, words: str) -> None:
    found = explain(said, [command])
    assert found[0] == code
    assert found[1].startswith(words)


def test_a_commands_own_words_are_not_cruns() -> None:
    assert looks_like_refusal(b"executable file `x` not found in $PATH: No such file or directory\n")
    assert looks_like_refusal(b"chdir `/x`: No such file or directory\n")
    assert not looks_like_refusal(b"sh: x: not found\n")
