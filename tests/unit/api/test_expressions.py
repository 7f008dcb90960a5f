"""What is wrong with expressions of admission policies and match conditions: one row a rule."""

from __future__ import annotations

import time

import pytest

from carob.api.expressions import Surroundings, check
from tests.unit.api.ruling import Tree, built, said

POLICY = built(
    """
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata: {name: v}
    spec:
      failurePolicy: Fail
      matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
      validations: [{expression: 'true'}]
    """
)
MUTATION = built(
    """
    apiVersion: admissionregistration.k8s.io/v1
    kind: MutatingAdmissionPolicy
    metadata: {name: v}
    spec:
      reinvocationPolicy: Never
      failurePolicy: Fail
      matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
    """
)
HOOK = built(
    """
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingWebhookConfiguration
    metadata: {name: w}
    webhooks:
    - {name: a.b.c, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://x.y'},
       matchConditions: [{name: m, expression: 'object.x'}]}
    """
)
AROUND = Surroundings(variables={"n": "int", "m": "map(string, int)"})
OPERANDS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)


def complaint(expression: str, column: int, words: str) -> str:
    """The words for an expression of one line."""
    return f"compilation failed: ERROR: <input>:1:{column}: {words}\n | {expression}\n | {'.' * (column - 1)}^"


@pytest.mark.parametrize(
    "expression",
    [
        "has(object.spec.replicas) && object.spec.replicas <= 5",
        "object == null || oldObject == null",
        "object.spec.containers.all(c, c.image.startsWith('x'))",
        "object.metadata.?labels['a'].orValue('') == 'x'",
        "request.name == 'a' && request.kind.group == '' && request.dryRun",
        "has(request.name)",
        "request.kind == request.requestKind",
        "'a' in request.userInfo.groups && request.userInfo.extra['a'][0] == 'b'",
        "request.options.x == 1",
        "namespaceObject.metadata.labels['a'] == 'b'",
        "namespaceObject != null && namespaceObject.metadata.name == 'a'",
        "variables.n > 1",
        "has(variables.n)",
        "variables.m['n'] == 1",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.serviceAccount('a', 'b').path('/x').check('get').reason() == ''",
        "authorizer.requestResource.check('x').allowed()",
        "quantity('1').add(1).isLessThan(quantity('2'))",
        "format.dns1123Label().validate('a').hasValue()",
        "url('a').getHost() == 'x' && isURL('a')",
        "ip('1.1.1.1') == ip('2.2.2.2') && cidr('10.0.0.0/8').containsIP('1.1.1.1')",
        "semver('1.0.0').compareTo(semver('1.0.0')) == 0",
        "sets.contains([1], [2]) && [1, 2].isSorted() && [1].sum() > 1",
        "'a'.find('b') == '' && 'A'.lowerAscii() == 'a' && 'a,b'.split(',').size() > 1",
        # what the library does not know is taken for right
        "1 < 2.0",
        "[1, 2].all(i, v, i < v)",
        "Object{metadata: Object.metadata{labels: {'x': 'y'}}} == object",
        # what is quoted or commented is no name
        "'params.x' == 'request.foo' // variables.x",
        "'\ud800' == 'a'",
    ],
)
def test_an_expression_that_will_do(expression: str) -> None:
    assert check(expression, AROUND, ("bool",))[0] == ""


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("object.x +", complaint("object.x +", 11, f"Syntax error: mismatched input '<EOF>' expecting {OPERANDS}")),
        ("true ? 1", complaint("true ? 1", 9, "Syntax error: mismatched input '<EOF>' expecting ':'")),
        ("foo == 1", complaint("foo == 1", 1, "undeclared reference to 'foo' (in container '')")),
        ("params.x == 1", complaint("params.x == 1", 1, "undeclared reference to 'params' (in container '')")),
        ("request.foo == 'a'", complaint("request.foo == 'a'", 8, "undefined field 'foo'")),
        ("has(request.nam)", complaint("has(request.nam)", 4, "undefined field 'nam'")),
        ("request.kind.foo == ''", complaint("request.kind.foo == ''", 13, "undefined field 'foo'")),
        ("variables.x > 1", complaint("variables.x > 1", 10, "undefined field 'x'")),
        (
            "1 == 1.0",
            complaint("1 == 1.0", 3, "found no matching overload for '_==_' applied to '(int, double)'"),
        ),
        (
            "object.x == 'a' &&\n foo",
            "compilation failed: ERROR: <input>:2:2: undeclared reference to 'foo' (in container '')\n |  foo\n | .^",
        ),
        ("1", "must evaluate to bool but got int"),
        ("object.x", "must evaluate to bool but got dyn"),
        ("variables.n", "must evaluate to bool but got int"),
        ("{'a': 1}", "must evaluate to bool but got map(string, int)"),
        ("duration('1s')", "must evaluate to bool but got google.protobuf.Duration"),
        ("optional.of(1)", "must evaluate to bool but got optional_type(int)"),
        (
            "a" * 100_001,
            "compilation failed: ERROR: <input>:-1:0: expression code point size exceeds limit: "
            "size: 100001, limit 100000",
        ),
    ],
)
def test_what_is_wrong_with_an_expression(expression: str, wanted: str) -> None:
    assert check(expression, AROUND, ("bool",))[0] == wanted


def test_one_of_several_types() -> None:
    kinds = ("string", "null_type")
    assert [check(one, AROUND, kinds)[0] for one in ("'a'", "null", "1")] == [
        "",
        "",
        "must evaluate to one of [string null_type]",
    ]


@pytest.mark.parametrize(
    ("expression", "wanted"), [("1", "int"), ("[1]", "list(int)"), ("object.x", "dyn"), ("+", "dyn")]
)
def test_the_type_of_a_value(expression: str, wanted: str) -> None:
    assert check(expression, AROUND)[1] == wanted


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 5_000 + "1" + ")" * 5_000,
        "!" * 20_000 + "true",
        "+".join(["1"] * 20_000),
        " && ".join(["object.x.y == 1"] * 3_000),
        " + ".join(["foo.bar"] * 4_000),
        " == ".join(["request.foo"] * 4_000),
        "'" * 5_001,
        '"\\' * 20_000,
        "'" + "\\'" * 20_000,
    ],
    ids=lambda text: text[:6],
)
def test_no_expression_takes_long(expression: str) -> None:
    before = time.process_time()
    problem = check(expression, AROUND, ("bool",))[0]
    assert time.process_time() - before < 3
    assert len(problem) < 1_000_000


def _policy(spec: str) -> Tree:
    return built(POLICY, f"spec: {spec}")


@pytest.mark.parametrize(
    ("rule", "tree", "wanted"),
    [
        ("a policy's variables come in order", _policy("{variables: [{name: a, expression: '1'}, {name: b, expression: 'variables.a + 1'}], validations: [{expression: 'variables.b == 2'}]}"), ""),
        ("one before its turn is not there", _policy("{variables: [{name: b, expression: 'variables.a'}, {name: a, expression: '1'}]}"), "spec.variables[0].expression: undefined field 'a'"),
        ("the type of one is known", _policy("{variables: [{name: a, expression: '1'}], validations: [{expression: 'variables.a'}]}"), "spec.validations[0].expression: must evaluate to bool but got int"),
        ("none in match conditions", _policy("{variables: [{name: a, expression: '1'}], matchConditions: [{name: m, expression: 'variables.a == 1'}]}"), "spec.matchConditions[0].expression: undeclared reference to 'variables'"),
        ("no parameters without their kind", _policy("{validations: [{expression: 'params.x == 1'}]}"), "spec.validations[0].expression: undeclared reference to 'params'"),
        ("parameters with their kind", _policy("{paramKind: {apiVersion: v1, kind: ConfigMap}, validations: [{expression: 'params.x == 1'}]}"), ""),
        ("a message is text", _policy("{validations: [{expression: 'true', messageExpression: '1'}]}"), "spec.validations[0].messageExpression: must evaluate to string but got int"),
        ("a message may not ask who may", _policy("{validations: [{expression: 'true', messageExpression: 'string(authorizer)'}]}"), "spec.validations[0].messageExpression: undeclared reference to 'authorizer'"),
        ("an annotation is text or nothing", _policy("{auditAnnotations: [{key: k, valueExpression: '1'}]}"), "spec.auditAnnotations[0].valueExpression: must evaluate to one of [string null_type]"),
        ("a mutation gives an object", built(MUTATION, "spec: {mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: '1'}}]}"), "spec.mutations[0].applyConfiguration.expression: must evaluate to Object but got int"),
        ("or a patch", built(MUTATION, "spec: {mutations: [{patchType: JSONPatch, jsonPatch: {expression: '1'}}]}"), "spec.mutations[0].jsonPatch.expression: must evaluate to list(JSONPatch) but got int"),
        ("a webhook's condition says yes or no", HOOK, "webhooks[0].matchConditions[0].expression: must evaluate to bool but got dyn"),
    ],
)  # fmt: skip
def test_where_expressions_stand(rule: str, tree: Tree, wanted: str) -> None:
    found = said(tree)
    if not wanted:
        assert found == [], rule
        return
    path, _, words = wanted.partition(": ")
    assert len(found) == 1, (rule, found)
    assert found[0].startswith(f"{path}: "), (rule, found)
    assert words in found[0], (rule, found)


def test_a_policy_of_many_variables_costs_no_more_than_it_is_long() -> None:
    variables = [{"name": f"v{i}", "expression": f"variables.v{i - 1} + 1" if i else "1"} for i in range(3_000)]
    validations = [{"expression": f"variables.v{i} > 0"} for i in range(1_000)] + [{"expression": "variables.w > 0"}]
    before = time.process_time()
    found = said(built(POLICY, {"spec": {"variables": variables, "validations": validations}}))
    assert time.process_time() - before < 5
    assert [one.partition(":")[0] for one in found] == ["spec.validations[1000].expression"]


def test_match_conditions_that_stay_are_not_looked_at_again() -> None:
    assert said(built(HOOK, "metadata: {labels: {a: b}}"), HOOK) == []
    webhook = {**HOOK["webhooks"][0], "matchConditions": [{"name": "m", "expression": "object.y"}]}
    changed = built(HOOK, {"webhooks": [webhook]})
    assert len(said(changed, HOOK)) == 1
