"""Specs that were judged before and are good: most Pods are made from templates, and each is written again and again.

A memo of a pure function: the key is the spec's own bytes, so equal keys mean equal verdicts. The one name in it that
differs between Pods of one template, the generated name of the token's volume, is replaced by a byte that no JSON
holds: whoever refers to it is renamed alike, so the verdict is the same. Only good specs are remembered, the last 512.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from carob.api import codec

if TYPE_CHECKING:
    from carob.api.types import core_v1

LIMIT = 512
LONGEST_KEY_BYTES = 16 * 1024
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")

_known: dict[bytes, None] = {}


def key_of(spec: core_v1.PodSpec) -> bytes | None:
    """The key of a spec; None where the verdict depends on more than the spec (names of ephemeral claims)."""
    token = b""
    for volume in spec.volumes:
        if volume.ephemeral is not None:
            return None
        if volume.projected is not None and _TOKEN_VOLUME.fullmatch(volume.name):
            token = volume.name.encode()
    key = codec.encode(spec)
    if len(key) > LONGEST_KEY_BYTES:
        return None
    return key.replace(token, b"\0") if token else key


def knows(key: bytes) -> bool:
    """Whether this spec was found good."""
    return key in _known


def remember(key: bytes) -> None:
    """This spec is good; the oldest is forgotten."""
    if len(_known) >= LIMIT:
        del _known[next(iter(_known))]
    _known[key] = None
