"""The types in expressions: of what type a value is, and what is said where they do not go together, as cel-go says it."""

from __future__ import annotations

import pytest

from carob.api.cel.inference import CheckError, checked, infer
from carob.api.cel.types import DYN, INT, STRING, Type, list_of, map_of, named

PORTS = list_of(INT)
CONTAINER = Type("Container", (), lambda: {"image": STRING, "ports": PORTS})
SPEC = Type("Spec", (), lambda: {"replicas": INT, "containers": list_of(CONTAINER), "any": DYN})
OBJECT = Type("Deployment", (), lambda: {"spec": SPEC, "labels": map_of(STRING, STRING)})
VARIABLES = {"object": OBJECT, "x": DYN, "authorizer.requestResource": named("kubernetes.authorization.ResourceCheck")}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("object.spec.replicas > 1", "bool"),
        ("x.y.z", "dyn"),
        ("object.spec.any.foo + 1", "int"),
        ("object.spec.containers.map(c, c.image)", "list(string)"),
        ("object.spec.containers.filter(c, c.ports.size() > 1)", "list(Container)"),
        ("object.labels.map(k, k)", "list(string)"),
        ("[3, 1].sort().reverse().slice(0, 1)[0] + object.spec.containers[0].ports.distinct().indexOf(1)", "int"),
        ("object.spec.containers.sortBy(c, c.image)[0].image", "string"),
        ("object.labels.transformMap(k, v, size(v))", "map(string, int)"),
        ("object.labels.transformList(k, v, k)", "list(string)"),
        ("object.?spec.?replicas", "optional_type(int)"),
        ("object.?labels['a'].orValue('b')", "string"),
        ("object.labels.?a.optMap(v, v.size())", "optional_type(int)"),
        ("cel.bind(r, object.spec.replicas, r + 1)", "int"),
        ("true ? [1] : []", "list(int)"),
        ("true ? [] : [1]", "list(int)"),
        ("[]", "list(dyn)"),
        ("[null, object]", "list(Deployment)"),
        ("{'a': [1]}", "map(string, list(int))"),
        ("Object{spec: Object.spec{a: 1}}", "Object"),
        ("x ? [JSONPatch{op: 'add', path: '/a', value: x}] : []", "list(JSONPatch)"),
        ("null", "null_type"),
        ("type(1)", "type(int)"),
        ("timestamp('a') - timestamp('b')", "google.protobuf.Duration"),
        ("string(ip('1.1.1.1'))", "string"),
        ("authorizer.requestResource.check('get').allowed()", "bool"),
        ("format.dns1123Label().validate('a')", "optional_type(list(string))"),
        ("1 < 2.0 && object == null && object.spec.replicas in [1, 2]", "bool"),
        ("x + x", "dyn"),
    ],
)
def test_the_type_of_a_value(expression: str, wanted: str) -> None:
    assert checked(expression, VARIABLES).text == wanted


@pytest.mark.parametrize(
    ("expression", "column", "words"),
    [
        ("object.spec.replicas > '1'", 22, "found no matching overload for '_>_' applied to '(int, string)'"),
        ("'got ' + object.spec.replicas", 8, "found no matching overload for '_+_' applied to '(string, int)'"),
        ("object.foo", 7, "undefined field 'foo'"),
        ("object.spec.replicas.x", 21, "type 'int' does not support field selection"),
        ("object.spec.containers.all(c, c.nosuch == 1)", 32, "undefined field 'nosuch'"),
        ("object.spec.containers.exists(c, 1)", 30, "found no matching overload for '_||_' applied to '(bool, int)'"),
        ("foo", 1, "undeclared reference to 'foo' (in container '')"),
        ("foo(1)", 4, "undeclared reference to 'foo' (in container '')"),
        ("'a'.startsWith(1)", 15, "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        (
            "1.all(x, true)",
            1,
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1, 'a']", 5, "expected type 'int' but found 'string'"),
        ("object.labels.all(k, v, v)", 25, "expected type 'bool' but found 'string'"),
        ("JSONPatch{op: 1}", 15, "expected type of field 'op' is 'string' but provided type is 'int'"),
        ("true ? 1 : 'a'", 6, "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("[1].indexOf('a')", 12, "found no matching overload for 'indexOf' applied to 'list(int).(string)'"),
        ("1 == null", 3, "found no matching overload for '_==_' applied to '(int, null)'"),
    ],
)
def test_what_does_not_go_together(expression: str, column: int, words: str) -> None:
    with pytest.raises(CheckError) as found:
        checked(expression, VARIABLES)
    assert str(found.value) == f"ERROR: <input>:1:{column}: {words}\n | {expression}\n | {'.' * (column - 1)}^"


def test_everything_is_told_in_order() -> None:
    _, complaints = infer("object.a == 1 && object.b == 2", VARIABLES)
    assert [one.words for one in complaints] == ["undefined field 'a'", "undefined field 'b'"]
    with pytest.raises(CheckError, match=r"(?s)'a'.*\n(?=ERROR: <input>:1:24: ).*'b'"):
        checked("object.a == 1 && object.b == 2", VARIABLES)
