"""`-o go-template`: what kubectl 1.37 printed for the same template and object."""

from __future__ import annotations

import pytest

from carob.cli.errors import CommandError
from carob.cli.printers.go_template import DoesNotFit, GoTemplate

POD = {
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"zone": "prod", "version": "v1"}},
    "spec": {"priority": 0, "containers": [{"name": "a"}, {"name": "b"}]},
    "ratio": 1.5,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{.metadata.name}}", "web"),
        ("{{.nope}} {{.nope.nope}} {{.nothing}}", "<no value> <no value> <no value>"),
        ("{{.metadata.labels}}", "map[version:v1 zone:prod]"),
        ("{{range $i, $c := .spec.containers}}{{$i}}={{$c.name}} {{end}}", "0=a 1=b "),
        ("{{range $k, $v := .metadata.labels}}{{$k}}:{{$v}};{{end}}", "version:v1;zone:prod;"),
        ("{{range .spec.containers}}{{.name}}{{break}}{{end}}", "a"),
        ("{{range .spec.containers}}{{continue}}x{{else}}none{{end}}", ""),
        ("{{range .nope}}x{{else}}none{{end}}{{range 3}}{{.}}{{end}}", "none012"),
        ("{{with .nope}}a{{else with .kind}}{{.}}{{else}}c{{end}}", "Pod"),
        ("{{if not .nope}}a{{else if true}}b{{end}}{{if .nope}}{{else if .kind}}c{{end}}", "ac"),
        ('{{- .kind -}}  x  {{- "y" }} z', "Podxy z"),
        ("{{/* comment */}}a{{- /* b */ -}} c", "ac"),
        ('{{$x := .kind}}{{$x}}{{$x = "b"}}{{$x}}{{if true}}{{$x = "c"}}{{end}}{{$x}}', "Podbc"),
        ('{{define "t"}}<{{.}}>{{end}}{{template "t" .kind}}{{block "u" 1}}[{{.}}]{{end}}', "<Pod>[1]"),
        ("{{(index .spec.containers 1).name}} {{len .spec.containers}}", "b 2"),
        ('{{printf "%5s|%-5s|%05d|%x|%t|%c|%.2f|%q|%v" "a" "b" 3 255 true 65 1.5 "q" .nope}}', None),
        ('{{printf "%d" "a"}} {{printf "%s" 3}} {{printf "%d"}}', "%!d(string=a) %!s(int=3) %!d(MISSING)"),
        ('{{1 | printf "%d %d" 2}} {{.metadata.name | len}}', "2 1 3"),
        ("{{lt 1 2}}{{gt 1 2}}{{le 1 1}}{{ge 1 2}}{{eq 1 2 1}}{{ne .kind .kind}}", "truefalsetruefalsetruefalse"),
        ('{{print 1 2 "a" "b" 3}}{{println "x"}}', "1 2ab3x\n"),
        ('{{html "<a>"}} {{js "it\'s"}} {{urlquery "a b"}} {{slice "abcdef" 1 3}}', "&lt;a&gt; it\\'s a+b bc"),
        ('{{and 1 0 2}} {{or 0 "" "x"}}', "0 x"),
        ("{{0.1}} {{1e3}} {{-5}} {{1_000}} {{1e100}} {{0x10}} {{'a'}} {{`r`}}", "0.1 1000 -5 1000 1e+100 16 97 r"),
        ('{{base64decode "aGk="}} {{exists . "metadata" "name"}} {{exists . "a" "b"}}', "hi true false"),
        ('{{printf "%T %T" 1 .metadata}} {{.ratio}}', "int map[string]interface {} 1.5"),
        ('{{ .kind}} }}{{"{{"}}', "Pod }}{{"),
    ],
)
def test_what_a_template_shows(template: str, shown: str | None) -> None:
    if shown is None:
        shown = '    a|b    |00003|ff|true|A|1.50|"q"|<nil>'
    assert GoTemplate(template).render(POD) == shown


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.a", "unclosed action"),
        ("{{foo .}}", 'function "foo" not defined'),
        ("{{end}}", "unexpected {{end}}"),
        ("{{if .x}}", "unexpected EOF"),
        ('{{"a}}', "unterminated quoted string"),
        ("{{range}}{{end}}", "missing value for range"),
        ("{{}}", "missing value for command"),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{.kind}}{{break}}", "{{break}} outside {{range}}"),
        ("{{/* a", "unclosed comment"),
        ("{{if true}}a{{else}}b{{else}}c{{end}}", "expected end; found {{else}}"),
        ("{{nil.x}}", 'unexpected . after term "nil"'),
    ],
)
def test_what_cannot_be_parsed(template: str, why: str) -> None:
    with pytest.raises(CommandError) as error:
        GoTemplate(template)
    assert str(error.value) == f"error: error parsing template {template}, template: output:1: {why}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (
            "{{.metadata.name.foo}}",
            '1:11: executing "output" at <.metadata.name.foo>: can\'t evaluate field foo in type interface {}',
        ),
        ("a\nb{{.kind.z.y}}", '2:8: executing "output" at <.kind.z.y>: can\'t evaluate field z in type interface {}'),
        ("{{(.kind).x}}", '1:3: executing "output" at <.kind>: can\'t evaluate field x in type string'),
        (
            "{{index .spec.containers 5}}",
            '1:2: executing "output" at <index .spec.containers 5>: error calling index: index out of range: 5',
        ),
        (
            "{{range .metadata.name}}{{end}}",
            '1:17: executing "output" at <.metadata.name>: range can\'t iterate over web',
        ),
        ("{{len 3}}", '1:2: executing "output" at <len 3>: error calling len: len of type int'),
        (
            '{{lt 1 "a"}}',
            '1:2: executing "output" at <lt 1 "a">: error calling lt: incompatible types for comparison: int and string',
        ),
        ("{{not}}", '1:2: executing "output" at <not>: wrong number of args for not: want 1 got 0'),
        ("{{1 2}}", '1:2: executing "output" at <1>: can\'t give argument to non-function 1'),
        ('{{template "x"}}', '1:11: executing "output" at <{{template "x"}}>: template "x" not defined'),
        (
            "{{call .kind}}",
            '1:2: executing "output" at <call .kind>: error calling call: non-function .kind of type string',
        ),
    ],
)
def test_what_does_not_fit(template: str, why: str) -> None:
    with pytest.raises(DoesNotFit) as error:
        GoTemplate(template).render(POD)
    assert str(error.value).endswith(f": template: output:{why}")
    assert "Error executing template: template: output:" in error.value.printed
    assert 'raw data was:\n\t\t{"kind":"Pod",' in error.value.printed


def test_missing_keys_may_be_refused() -> None:
    with pytest.raises(DoesNotFit, match='map has no entry for key "nope"'):
        GoTemplate("{{.nope}}", allow_missing=False).render(POD)
