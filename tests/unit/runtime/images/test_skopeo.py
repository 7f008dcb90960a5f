"""How the registry tool is asked, and what its complaints become."""

from __future__ import annotations

import json

import pytest

from carob.runtime.images import skopeo
from carob.runtime.images.names import parse
from carob.runtime.images.skopeo import Mirror, Source
from carob.runtime.types import RegistryAuth


def test_mirrors_come_before_the_registry_itself() -> None:
    mirrors = {"docker.io": [Mirror("127.0.0.1:5000", insecure=True), Mirror("mirror.example/hub")]}
    assert skopeo.sources(parse("busybox"), mirrors) == [
        Source("127.0.0.1:5000/library/busybox", True, own=False),
        Source("mirror.example/hub/library/busybox", False, own=False),
        Source("docker.io/library/busybox", False, own=True),
    ]
    assert skopeo.sources(parse("quay.io/a/b"), mirrors) == [Source("quay.io/a/b", False, own=True)]


def test_the_longest_prefix_wins_and_is_one_of_whole_parts() -> None:
    mirrors = {"docker.io": [Mirror("one")], "docker.io/library": [Mirror("two/official")], "docker.io/lib": []}
    assert [source.repository for source in skopeo.sources(parse("busybox"), mirrors)] == [
        "two/official/busybox",
        "docker.io/library/busybox",
    ]
    assert skopeo.sources(parse("a/b"), mirrors)[0].repository == "one/a/b"


@pytest.mark.parametrize(
    ("name", "insecure"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.1:5000/a", True),
        ("[::1]:80/a", True),
        ("127.example/a", False),
        ("a", False),
    ],
)
def test_registries_on_this_machine_may_speak_http(name: str, insecure: bool) -> None:
    assert skopeo.sources(parse(name), {})[0].insecure is insecure


def test_a_registry_that_is_its_own_mirror_is_asked_once_as_the_setting_says() -> None:
    found = skopeo.sources(parse("registry.lan:5000/a"), {"registry.lan:5000": [Mirror("registry.lan:5000", True)]})
    assert found == [Source("registry.lan:5000/a", True, own=True)]


def test_credentials_go_to_the_registry_itself_alone_and_never_on_the_command_line() -> None:
    auth = RegistryAuth(username="user", password="secret")
    own, mirror = Source("r.example/a", False, own=True), Source("m.example/a", True, own=False)
    for source in (own, mirror):
        for arguments in (
            skopeo.inspect(source, ":v1", "/auth.json"),
            skopeo.copy(source, "sha256:0", "/auth.json", "/layout", "/blobs"),
        ):
            assert ("/auth.json" in arguments) is source.own
            assert not any("secret" in argument for argument in arguments)
    assert json.loads(skopeo.auth_file(parse("r.example/a"), auth)) == {
        "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}}
    }


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        (
            'time="x" level=fatal msg="Error parsing image name: reading manifest v1 in r/a: manifest unknown: unknown"',
            'failed to resolve reference "docker.io/library/a:v1": docker.io/library/a:v1: not found',
        ),
        (
            'time="x" level=fatal msg="reading manifest v1: unauthorized: authentication required"',
            "pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed: reading manifest v1: unauthorized: authentication required",
        ),
        (
            'time="x" level=fatal msg="Error parsing image name \\"docker://r/a:v1\\": pinging container registry r: Get \\"https://r/v2/\\": dial tcp: no such host"',
            'failed to do request: pinging container registry r: Get "https://r/v2/": dial tcp: no such host',
        ),
        ("", "failed to do request: skopeo failed without a word"),
    ],
)
def test_failures_have_the_words_that_users_of_containerd_know(said: str, ends: str) -> None:
    failure = skopeo.failure(parse("a:v1"), said)
    assert str(failure).startswith('failed to pull and unpack image "docker.io/library/a:v1": failed to resolve ')
    assert str(failure).endswith(ends)
    assert failure.reason == "ErrImagePull"
