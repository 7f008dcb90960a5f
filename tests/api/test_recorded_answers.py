"""What a v1.36 API server answered, request by request: carob answers the same, except where the list says why not.

A case that is listed as different and is not any more fails, too: the list stays true. `docs/known-limits.md` says the
same in the user's words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from carob.api.resources import ResourceTable
from carob.apiserver.openapi.documents import OpenApi
from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.apiserver.request_info import parse
from carob.base.clock import SystemClock
from carob.transport.http import Request, Response
from tests.api.replaying import Replay, differences, load

# topic -> reason -> cases
DIFFERENT: dict[str, dict[str, tuple[str, ...]]] = {
    "bootstrap": {
        "the aggregated roles hold their rules from the first moment; nobody has to apply them": ("clusterroles",),
        "no front proxy": ("configmaps",),
        "the default range of Services is protected and ready like any other": ("servicecidrs",),
    },
    "tables": {
        "custom resources are not served yet": ("table-customresourcedefinition", "crd-columns"),
    },
    "defaulting": {
        "custom resources are not served yet, so nobody accepts their names": (
            "min-customresourcedefinition",
            "crd-full",
        ),
    },
    "validation": {
        "CBOR needs no feature gate": ("accept-cbor",),
        "a client's mistake never gets a 5xx": (
            "pod-rv-set",
            "put-rv-garbage",
            "apply-unknown-strict",
            "apply-type",
            "binding-missing-node",
            "eviction-two-pdb",
            "upd-service-nodeport-collision",
        ),
        "what rules of schemas cost is not estimated yet": ("crd-cel-cost",),
        "custom resources are not served yet": (
            *("cr-ok", "cr-nospec", "cr-toolong", "cr-int-float", "cr-min", "cr-max-and-cel", "cr-enum", "cr-bool"),
            *("cr-set-dup", "cr-map-dup", "cr-map-nokey", "cr-nullable", "cr-null-required", "cr-unknown-warn"),
            *("cr-unknown-root-strict", "cr-spec-list", "cr-meta-name", "cr-meta-labels", "cr-meta-type", "cr-kind"),
            *("cr-immutable", "upd-customresourcedefinition-scope"),
        ),
        "a ControllerRevision's number may change; upstream finds its data changed, although it is not": (
            "upd-controllerrevision-rev-ok",
        ),
    },
    "patches": {
        "a client's mistake never gets a 5xx": ("smp-setorder-mismatch", "smp-bad-directive"),
        "custom resources are not served yet": (
            *("crssa-map", "crssa-set", "crssa-set-dup", "crssa-unknown", "crssa-status", "crssa-map-delete-update"),
            *("crssa-null", "crssa-smp-unsupported"),
        ),
    },
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure_pki(tmp_path_factory.mktemp("pki"), PkiOptions(), SystemClock().now())


@pytest.mark.parametrize(
    "topic", ["discovery", "bootstrap", "tables", "defaulting", "validation", "patches", "watching", "rights"]
)
def test_answers_are_the_recorded_ones(topic: str, pki: Pki) -> None:
    found = asyncio.run(Replay(pki).run(topic))
    assert len(found) > 20
    expected = {name for names in DIFFERENT.get(topic, {}).values() for name in names}
    wrong = {name for name, problems in found.items() if problems}
    told = "\n".join(line for name in sorted(wrong - expected) for line in (name, *found[name][:8]))
    assert wrong <= expected, told
    assert expected <= wrong, f"no longer different: {sorted(expected - wrong)}"


def _documents() -> Iterator[tuple[str, Any]]:
    """Name and tree of each recorded OpenAPI document, which share schemas and parameters."""
    data = load("openapi")

    def whole(tree: Any) -> Any:
        if isinstance(tree, dict):
            return data["parameters"][tree["$p"]] if set(tree) == {"$p"} else {k: whole(v) for k, v in tree.items()}
        return [whole(one) for one in tree] if isinstance(tree, list) else tree

    for name, document in data["documents"].items():
        document["paths"] = whole(document["paths"])
        schemas = document.get("components", {}).get("schemas", {})
        for key, number in schemas.items():
            schemas[key] = data["schemas"][number] if isinstance(number, int) else number
        yield name, document


def _without_prose(tree: Any, of_fields: bool = False) -> Any:
    if isinstance(tree, dict):
        return {
            key: _without_prose(value, not of_fields and key in ("properties", "schemas"))
            for key, value in tree.items()
            if of_fields or key != "description" or not isinstance(value, str)
        }
    return [_without_prose(one) for one in tree] if isinstance(tree, list) else tree


def test_openapi_documents_are_the_recorded_ones() -> None:
    table = ResourceTable()
    answers = OpenApi(table)

    async def ask(name: str) -> Response:
        path = f"/openapi/v3/{name}"
        answer = answers.answer(path, parse("GET", path, "", table), Request("GET", path))
        return answer if isinstance(answer, Response) else await answer

    async def main() -> None:
        count = 0
        for name, document in _documents():
            response = await ask(name)
            assert response.status == 200, name
            problems = differences(document, _without_prose(orjson.loads(response.body)))
            assert not problems, (name, problems[:10])
            count += 1
        assert count == 47

    asyncio.run(main())
