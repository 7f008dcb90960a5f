"""What upstream refuses of devices: wishes, classes, what was given, and offers. One row a rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.ruling import built, said

CLAIM = """
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: c}
spec: {devices: {requests: [{name: a, exactly: {deviceClassName: k}}]}}
"""
CLASS = """
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: k}
"""
OFFER = """
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: s}
spec: {driver: d.example.com, pool: {name: p, generation: 1, resourceSliceCount: 1}, nodeName: n}
"""
ALLOCATED = "{allocation: {devices: {results: [{request: a, driver: d.example.com, pool: p, device: g}]}}}"
NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
LABEL = "a lowercase RFC 1123 label"


def told(problems: list[str]) -> list[str]:
    """Without the long words of names."""
    return [p.split(" must consist of")[0] for p in problems]


@pytest.mark.parametrize(
    ("devices", "wanted"),
    [
        (
            "{requests: [{name: a, exactly: {deviceClassName: k, tolerations: [{operator: Exists, value: v}, {operator: X, "
            "effect: Y, key: -}, {}]}}]}",
            [
                'requests[0].exactly.tolerations[0].value: Invalid value: "v": must be empty for operator `Exists`',
                'requests[0].exactly.tolerations[1].key: Invalid value: "-": name part',
                'requests[0].exactly.tolerations[1].operator: Unsupported value: "X": supported values: "Equal", "Exists"',
                'requests[0].exactly.tolerations[1].effect: Unsupported value: "Y": supported values: "NoExecute", '
                '"NoSchedule", "None"',
            ],
        ),
        (
            "{requests: [{name: a, firstAvailable: [{name: x, deviceClassName: ''}, {name: x, deviceClassName: k}]}]}",
            [
                "requests[0].firstAvailable[0].deviceClassName: Required value",
                'requests[0].firstAvailable[1]: Duplicate value: "x"',
            ],
        ),
        (
            "{constraints: [{requests: [b, a/b/c], matchAttribute: plain}, {distinctAttribute: a.example.com/}, {}]}",
            [
                f'constraints[0].requests[0]: Invalid value: "b": {NO_REQUEST}',
                f'constraints[0].requests[1]: Invalid value: "a/b/c": {NO_REQUEST}',
                'constraints[0].matchAttribute: Invalid value: "plain": a fully qualified name must be a domain and a '
                "name separated by a slash",
                'constraints[1].distinctAttribute: Invalid value: "": the name must not be empty',
                'constraints[2]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, but '
                "multiple fields are set",
            ],
        ),
        (
            "{config: [{}, {opaque: {driver: d.example.com, parameters: [1]}}]}",
            [
                "config[0].opaque: Required value",
                'config[1].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object',
            ],
        ),
    ],
)
def test_wishes(devices: str, wanted: list[str]) -> None:
    assert told(said(built(CLAIM, f"spec: {{devices: {devices}}}"))) == [f"spec.devices.{one}" for one in wanted]


def test_templates_carry_labels_and_annotations_alone() -> None:
    template = built(
        CLAIM, "kind: ResourceClaimTemplate", "spec: {metadata: {name: x, labels: {a: b}}, spec: {devices: {}}}"
    )
    assert said(template) == ["spec.metadata.name: Forbidden: cannot be set"]


def test_what_a_class_had_is_not_looked_at_again() -> None:
    wrong = "{selectors: [{cel: {expression: 1}}]}"
    old = built(CLASS, f"spec: {wrong.replace('1', repr('1'))}")
    assert said(old) == [
        'spec.selectors[0].cel.expression: Invalid value: "1": must evaluate to bool or the unknown type, not int'
    ]
    assert said(built(old, "metadata: {labels: {a: b}}"), old) == []
    named = built(CLASS, "spec: {extendedResourceName: cpu}")
    assert said(named) == ['spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name']


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("{}", ALLOCATED, []),
        (
            "{}",
            "{reservedFor: [{resource: pods, name: p, uid: ''}, {resource: '', name: '', uid: ''}]}",
            [
                "reservedFor[0].uid: Required value",
                "reservedFor[1].resource: Required value",
                "reservedFor[1].name: Required value",
                "reservedFor[1].uid: Required value",
                'reservedFor[1]: Duplicate value: ""',
                "reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ],
        ),
        (
            ALLOCATED,
            ALLOCATED[:-1]
            + ", devices: [{driver: d.example.com, pool: p, device: h}, {driver: d.example.com, pool: p, "
            "device: g, data: 1, networkData: {ips: [10.0.0.1, 010.0.0.1/8]}}]}",
            [
                "devices[0]: Invalid value: d.example.com/p/h: must be an allocated device in the claim",
                'devices[1].data: Invalid value: "<value omitted>": must be a valid JSON object',
                'devices[1].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR form, (e.g. '
                "10.9.8.7/24 or 2001:db8::1/64)",
                'devices[1].networkData.ips[1]: Invalid value: "010.0.0.1/8": must be in canonical form ("10.0.0.1/8")',
            ],
        ),
        (
            "{}",
            "{allocation: {devices: {results: [{request: x, driver: d.example.com, pool: '', device: A, shareID: x, "
            "bindingConditions: [a, a]}], config: [{source: '', opaque: {driver: d, parameters: {}}}]}}}",
            [
                f'allocation.devices.results[0].request: Invalid value: "x": {NO_REQUEST}',
                "allocation.devices.results[0].pool: Required value",
                f'allocation.devices.results[0].device: Invalid value: "A": {LABEL}',
                'allocation.devices.results[0].shareID: Invalid value: "x": error validating uid: invalid UUID length: 1',
                'allocation.devices.results[0].bindingConditions[1]: Duplicate value: "a"',
                "allocation.devices.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions "
                "are required to use bindingConditions",
                "allocation.devices.config[0].source: Required value",
            ],
        ),
    ],
)
def test_what_claims_got(before: str, after: str, wanted: list[str]) -> None:
    old, new = (built(CLAIM, f"status: {status}") for status in (before, after))
    assert told(said(new, old, "status")) == [f"status.{one}" for one in wanted]


def test_nobody_joins_a_claim_that_goes() -> None:
    going = built(CLAIM, f"status: {ALLOCATED}", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    more = built(going, "status: {reservedFor: [{resource: pods, name: p, uid: u}]}")
    words = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
    assert said(more, going, "status") == [f"status.reservedFor: Forbidden: {words}"]
    assert said(going, more, "status") == []


def offers(device: str) -> dict[str, Any]:
    return {"spec": {"devices": [built(device, "name: g")]}}


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        (
            "{attributes: {a/b/c: {int: 1}, v: {version: 1.0.0-01}, two: {int: 1, bool: true}}}",
            [
                'attributes: Invalid value: "a/b/c": must not contain more than one slash',
                'attributes[v].version: Invalid value: "1.0.0-01": must be a string compatible with semver.org spec 2.0.0',
                'attributes[two]: Invalid value: {"IntValue":1,"BoolValue":true,"StringValue":null,'
                '"VersionValue":null,"IntValues":null,"BoolValues":null,"StringValues":null,"VersionValues":null}: exactly one value must be specified',
            ],
        ),
        (
            "{capacity: {m: {value: 10, requestPolicy: {default: 1}}}}",
            ["capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"],
        ),
        (
            "{allowMultipleAllocations: true, capacity: {m: {value: '10', requestPolicy: {validValues: ['1'], validRange: {}}}}}",
            [
                'capacity[m].requestPolicy: Forbidden: exactly one policy can be specified, cannot specify "validValues" '
                'and "validRange" at the same time'
            ],
        ),
        (
            "{allowMultipleAllocations: true, capacity: {m: {value: '10', requestPolicy: {default: '5', validValues: "
            "['3', '2', '2', '11']}}}}",
            [
                'capacity[m].requestPolicy.validValues[1]: Invalid value: "2": values must be sorted in ascending order',
                'capacity[m].requestPolicy.validValues[3]: Invalid value: "11": option is larger than capacity value: 10',
                'capacity[m].requestPolicy.validValues[2]: Duplicate value: "2"',
                'capacity[m].requestPolicy.validValues: Invalid value: "5": default value is not valid according to the '
                "requestPolicy",
            ],
        ),
        (
            "{allowMultipleAllocations: true, capacity: {m: {value: '10', requestPolicy: {default: '3', validRange: {min: "
            "'4', max: '12', step: '5'}}}}}",
            [
                'capacity[m].requestPolicy.validRange.default: Invalid value: "3": default is less than min: 4',
                'capacity[m].requestPolicy.validRange.max: Invalid value: "12": max is larger than capacity value: 10',
                'capacity[m].requestPolicy.validRange.step: Invalid value: "3": value is not a multiple of a given step '
                "(5) from (4)",
                'capacity[m].requestPolicy.validRange.step: Invalid value: "12": value is not a multiple of a given step '
                "(5) from (4)",
            ],
        ),
        (
            "{taints: [{key: a, effect: ''}, {key: '', value: -, effect: X}]}",
            [
                "taints[0].effect: Required value",
                'taints[1].key: Invalid value: "": name part must be non-empty',
                'taints[1].key: Invalid value: "": name part',
                'taints[1].value: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
                "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                'taints[1].effect: Unsupported value: "X": supported values: "NoExecute", "NoSchedule", "None"',
            ],
        ),
        (
            "{consumesCounters: [{counterSet: s, counters: {A: {value: 1}}}, {counterSet: s, counters: {}}]}",
            [
                f'consumesCounters[0].counters: Invalid value: "A": {LABEL}',
                "consumesCounters[1].counters: Required value",
                'consumesCounters[1]: Duplicate value: "s"',
            ],
        ),
        (
            "{bindingConditions: [a], bindingFailureConditions: [a, b, b]}",
            [
                'bindingFailureConditions[0]: Invalid value: "a": bindingFailureConditions must not overlap with '
                "bindingConditions",
                'bindingFailureConditions[2]: Duplicate value: "b"',
            ],
        ),
    ],
)
def test_offers(device: str, wanted: list[str]) -> None:
    problems = told(
        said(
            built(
                OFFER,
                offers(
                    device.replace("value: 10,", "value: '10',")
                    .replace("default: 1}", "default: '1'}")
                    .replace("value: 1}", "value: '1'}")
                ),
            )
        )
    )
    assert problems == [f"spec.devices[0].{one}" for one in wanted]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            "{nodeName: null, perDeviceNodeSelection: true, devices: [{name: a}, {name: b, nodeName: '', allNodes: true}]}",
            [
                "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when "
                "`perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                'spec.devices[1].nodeName: Invalid value: "": must not be empty',
            ],
        ),
        (
            "{devices: [{name: a, allNodes: true}]}",
            [
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if "
                "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            ],
        ),
        (
            "{allNodes: false, pool: {name: A, generation: -1, resourceSliceCount: 0}}",
            [
                'spec.pool.name: Invalid value: "A": a lowercase RFC 1123 subdomain',
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                "spec.allNodes: Invalid value: false: must be either unset or set to true",
            ],
        ),
        (
            "{allNodes: true}",
            [
                'spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, '
                "`perDeviceNodeSelection` is required, but multiple fields are set"
            ],
        ),
        (
            "{devices: [{name: a}], sharedCounters: [{name: '', counters: {}}]}",
            [
                'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
                "spec.sharedCounters[0].name: Required value",
                "spec.sharedCounters[0].counters: Required value",
            ],
        ),
    ],
)
def test_slices(spec: str, wanted: list[str]) -> None:
    assert told(said(built(OFFER, f"spec: {spec}"))) == wanted


def test_devices_with_taints_or_counters_count_twice() -> None:
    plain = {"spec": {"devices": [{"name": f"g{i}"} for i in range(65)]}}
    assert said(built(OFFER, plain)) == []
    plain["spec"]["devices"][0]["taints"] = [{"key": "a", "effect": "NoSchedule"}]  # type: ignore[assignment]
    assert said(built(OFFER, plain)) == ["spec.devices: Too many: 65: must have at most 64 items"]


def test_whose_devices_they_are_stays() -> None:
    old = built(OFFER)
    new = built(old, "spec: {driver: e.example.com, nodeName: m, pool: {name: q}}")
    assert [one.split(":")[0] for one in said(new, old)] == ["spec.pool.name", "spec.driver", "spec.nodeName"]
