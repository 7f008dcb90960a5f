"""What manifests and configs say, and how damaged ones are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from carob.runtime.images import manifests
from carob.runtime.images.store import Layer
from carob.runtime.types import RuntimeFailure

A, B, C = (f"sha256:{sign * 64}" for sign in "abc")


def config(diff_ids: list[str], **more: Any) -> bytes:
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}).encode()


def test_an_image_is_its_config_and_its_layers() -> None:
    data = config([A, B], config={"Cmd": ["sh"], "User": "nobody"}, architecture="amd64")
    record = manifests.describe(data, [B, C], 1000, [A])
    assert record.id == manifests.digest_of(data)
    assert record.layers == [Layer(B, A), Layer(C, B)]
    assert record.blobs == [record.id, B, C, A]
    assert record.size_bytes == 1000 + len(data)
    assert record.config == {"Cmd": ["sh"], "User": "nobody"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "no config of an image"),
        (b"{}", "no config of an image"),
        (config([A]), "has 2 layers, but its config names 1"),
        (config([A, "sha256:../../../etc"]), "no sha256 digest"),
        (config([A, "sha512:" + "0" * 128]), "no sha256 digest"),
    ],
)
def test_configs_that_cannot_be(data: bytes, message: str) -> None:
    with pytest.raises(RuntimeFailure, match=message):
        manifests.describe(data, [B, C], 0, [])


def platforms(*names: str) -> bytes:
    entries = [
        {"digest": manifests.digest_of(name.encode()), "platform": dict(zip(("os", "architecture"), name.split("/")))}  # noqa: B905
        for name in names
    ]
    return json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode()


def test_an_index_has_a_manifest_for_each_platform() -> None:
    index = manifests.index(platforms("windows/amd64", "linux/arm64", "linux/amd64"))
    assert index is not None
    assert manifests.for_platform(index, "amd64").digest == manifests.digest_of(b"linux/amd64")
    with pytest.raises(RuntimeFailure, match="no match for platform in manifest: linux/riscv64"):
        manifests.for_platform(index, "riscv64")


def test_a_manifest_is_no_index_and_an_artifact_is_no_image() -> None:
    manifest = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": A}, "layers": []}
    assert manifests.index(json.dumps(manifest).encode()) is None
    assert manifests.parts(json.dumps(manifest).encode())[0].digest == A
    for data in (b"[]", b"nothing"):
        with pytest.raises(RuntimeFailure):
            manifests.index(data)
    with pytest.raises(RuntimeFailure, match="no manifest of an image"):
        manifests.parts(b'{"schemaVersion": 1}')
