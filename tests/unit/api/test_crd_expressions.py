"""Rules (CEL) of custom resources' schemas against the schema's types, one row a rule."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.validation import crd_expressions

SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "when": {"type": "string", "format": "date-time"},
        "either": {"x-kubernetes-int-or-string": True},
        "names": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "object", "additionalProperties": {"type": "number"}},
        "in-use": {"type": "boolean"},
        "namespace": {"type": "string"},
        "a.b/c__d": {"type": "string"},
        "free": {"x-kubernetes-preserve-unknown-fields": True},
    },
}


def said(*rules: dict[str, Any], of: dict[str, Any] | None = None) -> list[str]:
    """What is said of rules on a schema, each with its field."""
    schema = {"type": "object", "properties": {"spec": (of or SPEC) | {"x-kubernetes-validations": list(rules)}}}
    out: list[Any] = []
    crd_expressions.check(out, "s", schema)
    prefix = "s.properties[spec].x-kubernetes-validations"
    return [f"{one['field'].removeprefix(prefix)}: {one['message'].partition('}: ')[2]}" for one in out]


@pytest.mark.parametrize(
    "rule",
    [
        "self.a > 1 && oldSelf.a < 2",
        "self.when < timestamp('2020-01-01T00:00:00Z')",
        "self.either == 1 || self.either == 'x'",
        "self.names.all(n, n.startsWith('a')) && self.sizes.all(k, self.sizes[k] > 1.0)",
        "self.in__dash__use && self.__namespace__ == 'x' && self.a__dot__b__slash__c__underscores__d == ''",
        "has(self.a) && !has(self.names)",
        # as Gateway API's definitions have them
        "self.names.all(a, self.names.exists_one(b, a == b)) && self.names.filter(n, n == 'CORS').size() <= 1",
        '(self.names[0] in [\'Exact\', \'Prefix\']) ? self.names[0].matches(r"""^(?:[a-z]|[%][0-9]{2})+$""") : true',
        " + ".join(f"(self.names.size() > {i} ? self.names[{i}].size() : 0)" for i in range(16)) + " <= 128",
        " ",
    ],
)
def test_rules_that_will_do(rule: str) -> None:
    assert said({"rule": rule}) == []


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            {"rule": "self.b > 1"},
            "[0].rule: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b > 1\n | ....^",
        ),
        ({"rule": "self.a"}, "[0].rule: cel expression must evaluate to a bool"),
        ({"rule": "self.free.x == 1"}, "undefined field 'free'"),
        ({"rule": "self.no-use"}, "undefined field 'no'"),
        ({"rule": "self.names > 1"}, "found no matching overload for '_>_' applied to '(list(string), int)'"),
        ({"rule": "object.a > 1"}, "undeclared reference to 'object' (in container '')"),
        (
            {"rule": "true", "messageExpression": "1"},
            "[0].messageExpression: messageExpression must evaluate to a string",
        ),
        ({"rule": "true", "messageExpression": "self.b"}, "messageExpression compilation failed: ERROR: <input>:1:5: "),
        (
            {"rule": "oldSelf.a > 1 && oldSelf.a.hasValue()", "optionalOldSelf": True},
            "found no matching overload for '_>_'",
        ),
    ],
)
def test_rules_that_will_not_do(rule: dict[str, Any], wanted: str) -> None:
    (found,) = said(rule)
    assert wanted in found


def test_the_root_has_the_header_of_every_object() -> None:
    rule = {"rule": "self.metadata.name != self.kind && self.apiVersion != '' && self.metadata.nosuch == ''"}
    out: list[Any] = []
    crd_expressions.check(out, "s", {"type": "object", "x-kubernetes-validations": [rule]})
    (found,) = out
    assert "undefined field 'nosuch'" in found["message"]
    assert found["message"].startswith('Invalid value: {"Rule":"self.metadata.name != self.kind \\u0026\\u0026 ')


def test_items_have_rules_of_their_own() -> None:
    items = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1"}, {"rule": "self == 'a'"}]}
    out: list[Any] = []
    crd_expressions.check(out, "s", {"type": "object", "properties": {"l": {"type": "array", "items": items}}})
    assert [one["field"] for one in out] == ["s.properties[l].items.x-kubernetes-validations[1].rule"]
