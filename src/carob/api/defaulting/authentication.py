"""Defaults of TokenRequests. Source: `pkg/apis/authentication/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import authentication_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _token_request(obj: authentication_v1.TokenRequest) -> None:
    if obj.spec.expiration_seconds is None:
        obj.spec.expiration_seconds = 3600


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {authentication_v1.TokenRequest: _token_request}
