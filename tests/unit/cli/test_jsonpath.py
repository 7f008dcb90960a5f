"""JSONPath templates, as kubectl 1.37 answers them."""

from __future__ import annotations

import pytest

from carob.cli.errors import CommandError
from carob.cli.printers.jsonpath import JsonPath, relaxed

TREE = {
    "kind": "List",
    "items": [
        {"name": "a", "n": 1, "labels": {"app": "x"}, "parts": [{"p": 1}, {"p": 2}], "ok": True},
        {"name": "b", "n": 2, "parts": [], "note": "<&>", "ok": False},
        {"name": "c", "n": 3, "labels": {"app": "y", "a.b/c": "dotted"}, "parts": [{"p": 3}]},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.kind}", "List"),
        ("{$.kind} {@.kind} {kind}", "List List List"),
        ("kind={.kind}!", "kind=List!"),
        ("{.items[*].name}", "a b c"),
        ("{.items[0].name}{.items[-1].name}", "ac"),
        ("{.items[0:2].name}", "a b"),
        ("{.items[::2].name}", "a c"),
        ("{.items[0,2].name}", "a c"),
        ("{.items[*]['name','n']}", "a b c 1 2 3"),
        ("{.items[*].labels.a\\.b/c}", "dotted"),
        ("{.items[*].parts[*].p}", "1 2 3"),
        ("{..p}", "1 2 3"),
        ('{.items[?(@.name=="b")].n}', "2"),
        ("{.items[?(@.n>1)].name}", "b c"),
        ("{.items[?(@.n>=2)].name}", "b c"),
        ("{.items[?(@.n!=2)].name}", "a c"),
        ("{.items[?(@.labels.app)].name}", "a c"),
        ("{.items[?(@.ok==true)].name}", "a"),
        ('{range .items[*]}{.name}{"\\t"}{.n}{"\\n"}{end}', "a\t1\nb\t2\nc\t3\n"),
        ("{range .items[*]}{range .parts[*]}{.p}{end};{end}", "12;;3;"),
        ("{range .items[*]}x{.name}", "xaxbxcx"),
        ("{.items[0].labels}", '{"app":"x"}'),
        ("{.items[1].note}{.items[1].parts}", "<&>[]"),
        ("{.items[1]}", '{"n":2,"name":"b","note":"\\u003c\\u0026\\u003e","ok":false,"parts":[]}'),
        ("{.items[*].ok}", "true false"),
        ("{.nope}{.items[*].nope.x}", ""),
        ('{"a"}{"\\n"}', "a\n"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert JsonPath(template).render(TREE) == text


def test_an_empty_path_is_the_whole_object() -> None:
    assert JsonPath("{}").render({"a": 1}) == '{"a":1}'


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{.items", "unclosed action"),
        ("{.items[a]}", "invalid array index a"),
        ("{.items[?(@.a=}", "unterminated filter"),
        ("{'x}", "unterminated quoted string"),
    ],
)
def test_templates_that_cannot_be_parsed(template: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        JsonPath(template)
    assert str(caught.value) == f"error: error parsing jsonpath {template}, {words}"


@pytest.mark.parametrize(
    ("template", "words"),
    [("{.a[5]}", "array index out of bounds: index 5, length 1"), ("{end}", "not in range, nothing to end")],
)
def test_templates_that_cannot_be_filled_in(template: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        JsonPath(template).render({"a": ["x"], "b": None, "c": 1.5})
    assert str(caught.value) == (
        f'error: error executing jsonpath "{template}": Error executing template: {words}. Printing more information for '
        f"debugging the template:\n\ttemplate was:\n\t\t{template}\n\tobject given to jsonpath engine was:\n\t\t"
        'map[string]interface {}{"a":[]interface {}{"x"}, "b":interface {}(nil), "c":1.5}\n\n'
    )


def test_missing_keys_can_be_errors() -> None:
    with pytest.raises(CommandError, match="nope is not found"):
        JsonPath("{.nope}", allow_missing=False).render(TREE)


@pytest.mark.parametrize("given", [".a.b", "a.b", "{.a.b}", "{a.b}"])
def test_paths_without_braces(given: str) -> None:
    assert relaxed(given) == "{.a.b}"


@pytest.mark.parametrize("given", ["", "{.a", ".a}", "{{.a}}"])
def test_what_is_no_path(given: str) -> None:
    with pytest.raises(CommandError, match="unexpected path string"):
        relaxed(given)
