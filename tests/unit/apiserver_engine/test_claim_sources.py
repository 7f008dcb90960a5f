"""What a claim may be made from: which of the two fields fall away, and which are written for each other."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.types import core_v1
from carob.apiserver.registry.core import settle_sources

CLAIM, SNAPSHOT = ("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")
OTHER = ("a.b", "Populator")


def claim(source: tuple[str, str] | None = None, reference: tuple[str, str] | None = None, namespace: str = "") -> Any:
    out = core_v1.PersistentVolumeClaim()
    if source is not None:
        out.spec.data_source = core_v1.TypedLocalObjectReference(api_group=source[0] or None, kind=source[1], name="n")
    if reference is not None:
        out.spec.data_source_ref = core_v1.TypedObjectReference(
            api_group=reference[0] or None, kind=reference[1], name="n", namespace=namespace or None
        )
    return out


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        (claim(), None, claim()),
        (claim(CLAIM), None, claim(CLAIM, CLAIM)),
        (claim(SNAPSHOT), None, claim(SNAPSHOT, SNAPSHOT)),
        (claim(OTHER), None, claim()),
        (claim(None, OTHER), None, claim(OTHER, OTHER)),
        (claim(OTHER, OTHER), None, claim(OTHER, OTHER)),
        (claim(None, CLAIM, "elsewhere"), None, claim()),
        (claim(CLAIM, CLAIM, "elsewhere"), None, claim(CLAIM, CLAIM)),
        # what was there stays
        (claim(OTHER), claim(OTHER), claim(OTHER, OTHER)),
        (claim(None, CLAIM, "elsewhere"), claim(None, CLAIM, "elsewhere"), claim(None, CLAIM, "elsewhere")),
    ],
)
def test_sources_of_a_claim(new: Any, old: Any, wanted: Any) -> None:
    settle_sources(new.spec, old.spec if old is not None else None)
    assert new.spec == wanted.spec
