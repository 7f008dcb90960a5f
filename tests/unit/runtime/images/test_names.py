"""Names of images, as `docker` and the kubelet read them (distribution/reference's own cases among them)."""

from __future__ import annotations

import pytest

from carob.runtime.images.names import InvalidImageName, image_id, parse

D = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("nigelpoulton/k8sbook:latest", "docker.io/nigelpoulton/k8sbook:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/deep/er/app", "127.0.0.1:5000/deep/er/app:latest"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        (f"busybox@{D}", f"docker.io/library/busybox@{D}"),
        (f"busybox:1.36@{D}", f"docker.io/library/busybox:1.36@{D}"),
        ("UPPER/app", "UPPER/app:latest"),
        ("a__b/c---d/e.f_g", "docker.io/a__b/c---d/e.f_g:latest"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("app:_" + "x" * 127, "docker.io/library/app:_" + "x" * 127),
    ],
)
def test_full_forms(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "invalid reference format"),
        (":latest", "invalid reference format"),
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("a/Busybox:v1", "invalid reference format: repository name (a/Busybox) must be lowercase"),
        ("a//b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("busybox:", "invalid reference format"),
        ("busybox:-tag", "invalid reference format"),
        ("busybox:x" + "y" * 128, "invalid reference format"),
        ("-busybox", "invalid reference format"),
        ("https://docker.io/busybox", "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("busybox@sha256:abc", "invalid reference format"),
        ("busybox@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("busybox@sha256:" + "0" * 40, "invalid checksum digest length"),
        ("busybox@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("a/" + "b" * 255, "repository name must not be more than 255 characters"),
        ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_what_is_no_name(text: str, why: str) -> None:
    with pytest.raises(InvalidImageName) as refused:
        parse(text)
    assert str(refused.value) == f'couldn\'t parse image reference "{text}": {why}'
    assert refused.value.reason == "InvalidImageName"


def test_the_digest_identifies_where_there_is_one() -> None:
    assert parse(f"busybox:1@{D}").key == f"docker.io/library/busybox@{D}"
    assert parse("busybox:1").key == "docker.io/library/busybox:1"
    assert parse(f"busybox@{D}").tagged == ""


@pytest.mark.parametrize(("text", "found"), [(D, D), (D[7:], D), ("sha256:abc", ""), ("busybox", ""), (D[7:-1], "")])
def test_ids(text: str, found: str) -> None:
    assert image_id(text) == found
