"""Which profile of AppArmor a container gets."""

from __future__ import annotations

import pytest

from carob.host import apparmor
from carob.host.recording import FakeHost
from carob.runtime.embedded.apparmor import NAME, TEXT, Profiles
from carob.runtime.types import RuntimeFailure, SecurityContext

FILE = "/sys/kernel/security/apparmor/profiles"


class Kernel:
    """Knows some profiles and learns others."""

    def __init__(self, *known: str, refuses: bool = False) -> None:
        self.host = FakeHost({FILE: "".join(f"{name} (enforce)\n" for name in known)})
        self.loads: list[str] = []
        self._refuses = refuses
        self.profiles = Profiles(self.host, self.load)

    def load(self, text: str) -> None:
        self.loads.append(text)
        if self._refuses:
            raise OSError("no parser")
        self.host.files[FILE] += f"{NAME} (enforce)\n"

    def chosen(self, profile: str, *, privileged: bool = False) -> str:
        return self.profiles.of(SecurityContext(apparmor_profile=profile, privileged=privileged))


def test_who_names_none_gets_the_default_which_is_loaded_once() -> None:
    kernel = Kernel("/usr/bin/man")
    assert [kernel.chosen(profile) for profile in ("", "runtime/default")] == [NAME, NAME]
    assert kernel.loads == [TEXT]
    again = Profiles(kernel.host, kernel.load)
    again.prepare()
    assert again.of(SecurityContext()) == NAME
    assert kernel.loads == [TEXT], "an agent before has loaded it"


def test_who_is_privileged_or_asks_for_none_has_none() -> None:
    kernel = Kernel()
    assert kernel.chosen("", privileged=True) == ""
    assert kernel.chosen("unconfined") == ""
    assert kernel.loads == []


def test_a_profile_of_the_machine_is_found_by_name() -> None:
    kernel = Kernel("my profile", "other")
    assert kernel.chosen("localhost/my profile") == "my profile"
    assert kernel.chosen("localhost/other", privileged=True) == "other"
    with pytest.raises(RuntimeFailure, match="apparmor profile not found mine") as refused:
        kernel.chosen("localhost/mine")
    assert refused.value.reason == "CreateContainerError"


def test_without_a_parser_containers_run_unconfined() -> None:
    kernel = Kernel(refuses=True)
    assert kernel.chosen("") == ""
    assert kernel.chosen("") == ""
    assert len(kernel.loads) == 1


def test_a_machine_without_apparmor_confines_nobody() -> None:
    def load(text: str) -> None:
        raise AssertionError(text)

    profiles = Profiles(FakeHost({}), load)
    profiles.prepare()
    assert profiles.of(SecurityContext(apparmor_profile="localhost/x")) == ""


def test_a_profile_is_forgotten_by_name() -> None:
    host = FakeHost({"/sys/kernel/security/apparmor/.remove": ""})
    apparmor.forget(host, NAME)
    assert host.files["/sys/kernel/security/apparmor/.remove"] == NAME
