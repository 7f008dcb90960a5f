"""What upstream refuses of flow control, Events, EndpointSlices, roles and policies: one row a rule."""

from __future__ import annotations

import pytest

from tests.unit.api.ruling import built, said

SCHEMA = """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: f}
spec:
  priorityLevelConfiguration: {name: l}
  matchingPrecedence: 10
"""
LEVEL = """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: l}
spec: {type: Limited, limited: {limitResponse: {type: Reject}}}
"""
EXEMPT = """
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: exempt}
spec: {type: Exempt}
"""
EVENT = """
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: e, namespace: n}
eventTime: "2026-01-01T00:00:00.000000Z"
type: Normal
action: a
reason: r
reportingController: c
reportingInstance: i
regarding: {namespace: n}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s}
addressType: IPv4
ports: []
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: v}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
"""
GROUP = "{kind: Group, group: {name: g}}"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            f"{{subjects: [{GROUP}], resourceRules: [{{verbs: [get, '*'], apiGroups: ['*', a], resources: ['*', b], "
            "namespaces: ['*', c]}]}",
            [
                f"resourceRules[0].{name}: Invalid value: {value}: if '*' is present, must not specify other {what}"
                for name, value, what in (
                    ("verbs", '["get","*"]', "verbs"),
                    ("apiGroups", '["*","a"]', "api groups"),
                    ("resources", '["*","b"]', "resources"),
                    ("namespaces", '["*","c"]', "namespaces"),
                )
            ],
        ),
        (
            f"{{subjects: [{GROUP}], resourceRules: [{{verbs: [fly], apiGroups: [a], resources: [b], namespaces: [A]}}]}}",
            [
                'resourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", '
                '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
                "resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 "
                "label; a lowercase RFC 1123 label",
            ],
        ),
        (
            f"{{subjects: [{GROUP}], nonResourceRules: [{{verbs: ['*'], nonResourceURLs: ['', /, a, /a b, /a//b, /a*, "
            "/a/*]}]}",
            [
                'nonResourceRules[0].nonResourceURLs[0]: Invalid value: "": must not be empty',
                'nonResourceRules[0].nonResourceURLs[2]: Invalid value: "a": must start with slash',
                'nonResourceRules[0].nonResourceURLs[3]: Invalid value: "/a b": must not contain white-space',
                'nonResourceRules[0].nonResourceURLs[4]: Invalid value: "/a//b": must not contain double slash',
                'nonResourceRules[0].nonResourceURLs[5]: Invalid value: "/a*": wildcard can only do suffix matching',
            ],
        ),
        (
            "{subjects: [{kind: ServiceAccount, serviceAccount: {name: A, namespace: ''}, user: {name: u}}, "
            "{kind: User, group: {name: g}}], nonResourceRules: [{verbs: ['*'], nonResourceURLs: ['*']}]}",
            [
                'subjects[0].serviceAccount.name: Invalid value: "A": a lowercase RFC 1123 subdomain',
                "subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
                "subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
                "subjects[1].user: Required value: user is required when subject kind is 'User'",
                "subjects[1].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        ),
    ],
)
def test_flow_schemas(rule: str, wanted: list[str]) -> None:
    schema = built(SCHEMA, {"spec": {"rules": [built(rule)]}})
    assert [one.split(" must consist of")[0] for one in said(schema)] == [f"spec.rules[0].{one}" for one in wanted]


def test_what_must_be_there_stays_as_it_is() -> None:
    words = "must equal the fixed value"
    named = built(SCHEMA, "metadata: {name: catch-all}")
    assert [one[-len(words) :] for one in said(named)] == [words]
    assert said(built(LEVEL, "metadata: {name: catch-all}"))[0].endswith(f"spec of 'catch-all' {words}")
    assert said(built(EXEMPT)) == []
    assert said(built(EXEMPT, "spec: {exempt: {nominalConcurrencyShares: 7, lendablePercent: 3}}")) == []
    assert said(built(EXEMPT, "spec: {exempt: {nominalConcurrencyShares: -1, lendablePercent: 101}}")) == [
        "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
        "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
    ]


@pytest.mark.parametrize("base", [SCHEMA, LEVEL])
def test_conditions_of_flow_control(base: str) -> None:
    new = built(base, "status: {conditions: [{type: a}, {type: a}, {type: ''}]}")
    assert said(new, built(base), "status") == [
        'status.conditions[1].type: Duplicate value: "a"',
        "status.conditions[2].type: Required value: must not be empty",
    ]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            "series: {count: 1}",
            ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
        ),
        (
            "{deprecatedCount: 1, deprecatedSource: {component: c}, deprecatedFirstTimestamp: '2026-01-01T00:00:00Z'}",
            [f'{name}: Invalid value: "": needs to be unset' for name in ("firstTimestamp", "count", "source")],
        ),
        ("eventTime: null", ["eventTime: Required value"]),
        (
            "regarding: {namespace: m}\neventTime: null",
            [
                'involvedObject.namespace: Invalid value: "m": does not match event.namespace',
                "eventTime: Required value",
            ],
        ),
    ],
)
def test_events(change: str, wanted: list[str]) -> None:
    assert said(built(EVENT, change)) == wanted


def test_only_the_series_of_an_event_grows() -> None:
    old = built(EVENT)
    assert said(built(old, "series: {count: 2, lastObservedTime: '2026-01-01T00:00:00.000000Z'}"), old) == []
    changed = built(old, "{note: x, reportingInstance: j, deprecatedCount: 3}")
    assert [one.split(":")[0] for one in said(changed, old)] == ["message", "count", "reportingInstance"]


@pytest.mark.parametrize(
    ("hints", "wanted"),
    [
        (
            "{forZones: [{name: a}, {name: a}, {name: b/c}]}",
            ['forZones[1].name: Duplicate value: "a"', 'forZones[2].name: Invalid value: "b/c": a valid label'],
        ),
        (
            "{forNodes: [{name: A}, {name: a}, {name: a}]}",
            [
                'forNodes[0].name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters",
                'forNodes[2].name: Duplicate value: "a"',
            ],
        ),
    ],
)
def test_hints_of_endpoints(hints: str, wanted: list[str]) -> None:
    tree = built(SLICE, {"endpoints": [{"addresses": ["10.0.0.1"], "hints": built(hints)}]})
    problems = [one.split(" must be an empty")[0].split(", '-' or '.'")[0] for one in said(tree)]
    assert problems == [f"endpoints[0].hints.{one}" for one in wanted]


def test_selectors_of_aggregated_roles() -> None:
    role = """
    apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: r}
    rules: []
    aggregationRule: {clusterRoleSelectors: [{matchExpressions: [{key: a, operator: X}]}]}
    """
    here = "aggregationRule.clusterRoleSelectors[0]"
    assert said(built(role)) == [
        f'{here}.matchExpressions[0].operator: Invalid value: "X": not a valid selector operator',
        f"{here}: Invalid value: null: invalid label selector.",
    ]


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        ({"key": "a b", "valueExpression": "'x'"}, ['key: Invalid value: "v/a b": name part']),
        ({"key": "k", "valueExpression": " "}, ["valueExpression: Required value: valueExpression is not specified"]),
        (
            {"key": "k", "valueExpression": "x" * 5121},
            ["valueExpression: Required value: must not exceed 5120 bytes in length"],
        ),
    ],
)
def test_audit_annotations(annotation: dict[str, str], wanted: list[str]) -> None:
    policy = built(POLICY, {"spec": {"auditAnnotations": [annotation]}})
    problems = [one.split(" must consist of")[0] for one in said(policy)]
    assert problems == [f"spec.auditAnnotations[0].{one}" for one in wanted]
