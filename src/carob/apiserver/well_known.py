"""The paths that are no resource: `/`, `/version`, the keys of service-account tokens. Bytes made once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import orjson

from carob.apiserver.health import CHECKS
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.apiserver.options import ApiServerOptions
    from carob.base.jws import SigningKey

# what clients take for the level of the API; who really built this stands in the other fields
API_VERSION = "v1.36.2"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_OTHER_PATHS = (
    "/.well-known/openid-configuration",
    "/flagz",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/statusz",
    "/version",
)


def version() -> Response:
    """`/version`."""
    major, minor = API_VERSION.removeprefix("v").split(".")[:2]
    machine = os.uname().machine
    tree = {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": API_VERSION,
        "gitCommit": "carob",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "python" + ".".join(map(str, sys.version_info[:3])),
        "compiler": sys.implementation.name,
        "platform": f"linux/{_MACHINES.get(machine, machine)}",
    }
    return Response(body=orjson.dumps(tree, option=orjson.OPT_INDENT_2))


def paths(groups: Iterable[tuple[str, str]]) -> Response:
    """`/`: every path there is, for people who look around. `groups` are pairs of group and version."""
    found = {"/api", "/apis", "/apis/", *_OTHER_PATHS}
    for group, one_version in groups:
        if group:
            found |= {f"/apis/{group}", f"/apis/{group}/{one_version}"}
        else:
            found.add(f"/api/{one_version}")
    for kind, checks in CHECKS.items():
        found |= {f"/{kind}", *(f"/{kind}/{check}" for check in checks)}
    return Response(body=orjson.dumps({"paths": sorted(found)}, option=orjson.OPT_INDENT_2))


def openid_configuration(options: ApiServerOptions, key: SigningKey) -> Response:
    """Where to find the keys with which our tokens can be checked. Source: OpenID Connect Discovery 1.0, section 3."""
    tree = {
        "issuer": options.issuer,
        "jwks_uri": f"https://{options.advertise_address}:{options.port}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [key.algorithm],
    }
    return Response(body=orjson.dumps(tree), headers=[("Cache-Control", "public, max-age=3600")])


def keys(key: SigningKey) -> Response:
    """The public keys of our tokens."""
    return Response(
        body=orjson.dumps({"keys": [key.jwk()]}),
        content_type="application/jwk-set+json",
        headers=[("Cache-Control", "public, max-age=3600")],
    )
