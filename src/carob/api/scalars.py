"""The scalar types of the Kubernetes API that JSON does not have: quantities and times.

They stay strings in memory: logic that needs a number parses once, where it needs it (`carob.api.quantity`).
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw


class Quantity(str):
    """A resource quantity in its canonical form, as upstream writes it: `500m`, `64Mi`, `2`.

    Source: apimachinery `resource.Quantity`. Made by `carob.api.codec`'s decoders, which canonicalize and refuse.
    """

    __slots__ = ()


# RFC 3339 in UTC with seconds (`Time`) or microseconds (`MicroTime`), as upstream writes them.
Time: TypeAlias = str
MicroTime: TypeAlias = str

Int32: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64: TypeAlias = int

# `metadata.managedFields`, and one entry's set of fields: JSON as it is stored. `carob.api.apply` reads and writes it.
ManagedFields: TypeAlias = Raw
FieldsV1: TypeAlias = Raw
NOTHING = Raw(b"")
"""Stands for an absent `ManagedFields` or `FieldsV1`: it is not written."""
