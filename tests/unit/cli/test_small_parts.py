"""Durations, sorting, ports, selectors, default containers, hashes, files of manifests."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from carob.api.durations import parse_duration
from carob.api.resources import TABLE
from carob.cli.cp import Unpacker
from carob.cli.creators.base import content_hash
from carob.cli.creators.workload import container_name
from carob.cli.errors import CommandError
from carob.cli.forwarder import listen_addresses, parse_ports
from carob.cli.manifests import read_manifests
from carob.cli.pods import default_container, find_container, selector_of
from carob.cli.printers.sorting import sort_by
from carob.cli.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path


class NoServer:
    """A connection that nobody may use."""

    def json(self, *arguments: object, **named: object) -> Any:
        return {"items": []}


@pytest.fixture
def selection() -> Selection:
    connection: Any = NoServer()
    return Selection(connection)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("-1h", -3600), ("+2s", 2)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4", 'time: missing unit in duration "4"'),
        ("x", 'time: invalid duration "x"'),
        ("", 'time: invalid duration ""'),
        ("1s2", 'time: invalid duration "1s2"'),
    ],
)
def test_what_is_no_duration(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == words


def _sorted(values: list[Any]) -> list[Any]:
    items = [{"v": v} if v is not None else {} for v in values]
    sort_by(items, ".v", lambda tree: tree)
    return [item.get("v") for item in items]


def test_sorting_knows_numbers_words_and_quantities() -> None:
    assert _sorted([10, 9, 1]) == [1, 9, 10]
    assert _sorted(["a9", "a10", "B"]) == ["B", "a10", "a9"]
    assert _sorted(["1Gi", "900Mi", "2k"]) == ["2k", "900Mi", "1Gi"]
    assert _sorted(["b", None, "a"]) == [None, "a", "b"]


def test_sorting_by_what_no_object_has() -> None:
    with pytest.raises(CommandError) as caught:
        _sorted([None, None])
    assert str(caught.value) == 'error: couldn\'t find any field with path "{.v}" in the list of objects'


def test_ports_of_port_forward() -> None:
    assert parse_ports(["80", "8080:80", ":443", "0:1"]) == [(80, 80), (8080, 80), (0, 443), (0, 1)]
    for text in ("80:", "1:2:3", "x", "80:70000", "5:0"):
        with pytest.raises(CommandError):
            parse_ports([text])


def test_addresses_of_port_forward() -> None:
    assert listen_addresses(["localhost"]) == [("127.0.0.1", True), ("::1", True)]
    assert listen_addresses(["10.0.0.1"]) == [("10.0.0.1", False)]
    with pytest.raises(CommandError, match="nope is not a valid IP"):
        listen_addresses(["nope"])


POD: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
}


def test_the_default_container(capsys: pytest.CaptureFixture[str]) -> None:
    assert default_container(POD) == "a"
    assert capsys.readouterr().err == 'Defaulted container "a" out of: a, b, i (init)\n'
    annotated = {**POD, "metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "b"}}}
    assert default_container(annotated) == "b"
    assert default_container({"metadata": {}, "spec": {"containers": [{"name": "only"}]}}) == "only"
    assert capsys.readouterr().err == ""


def test_a_container_that_is_none() -> None:
    assert find_container(POD, "i") == "i"
    with pytest.raises(CommandError) as caught:
        find_container(POD, "x")
    assert str(caught.value) == "error: container x is not valid for pod p out of: a, b, i (init)"


def test_selectors_of_what_selects_pods() -> None:
    assert selector_of({"spec": {"selector": {"b": "2", "a": "1"}}}) == "a=1,b=2"
    expressions = [{"key": "k", "operator": "In", "values": ["y", "x"]}, {"key": "e", "operator": "DoesNotExist"}]
    assert selector_of({"spec": {"selector": {"matchExpressions": expressions}}}) == "!e,k in (x,y)"


def test_words_select_rows(selection: Selection) -> None:
    assert [(s.resource.plural, s.name) for s in selection.parse(["po,svc", "a", "b"])] == [
        ("pods", "a"),
        ("pods", "b"),
        ("services", "a"),
        ("services", "b"),
    ]
    assert [(s.resource.plural, s.name) for s in selection.parse(["deploy/x", "pod/y"])] == [
        ("deployments", "x"),
        ("pods", "y"),
    ]
    assert "replicasets" in [r.plural for r in selection.resources("all")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pod", "svc/x"], "error: there is no need to specify a resource type"),
        (["pod/a/b"], "error: arguments in resource/name form may not have more than one slash"),
        (["pod/"], "error: arguments in resource/name form must have a single resource and name"),
        (["nope"], 'error: the server doesn\'t have a resource type "nope"'),
        (["nope.x.y"], 'error: the server doesn\'t have a resource type "nope" in group "x.y"'),
    ],
)
def test_words_that_select_nothing(selection: Selection, words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        selection.parse(words)
    assert str(caught.value).startswith(message)


def test_hashes_of_content_are_kubectls() -> None:
    config_map = {"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}
    assert content_hash(config_map, ("data", "binaryData")) == "m8mt92gg65"
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}, "type": ""}
    assert content_hash(secret, ("data", "type")) == "7fd2tm89d8"


@pytest.mark.parametrize(
    ("image", "name"), [("a/b:c", "b"), ("x", "x"), ("r.io:5/a/web@sha256:0", "web"), ("a_b", "a-b")]
)
def test_containers_are_named_after_their_image(image: str, name: str) -> None:
    assert container_name(image) == name


def test_manifests_are_read_in_order(selection: Selection, tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n---\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {when: 2020-01-01, x: 012, on: yes}\n"
    )
    (tmp_path / "a.json").write_text(
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}{"apiVersion":"v1","kind":"Pod","metadata":{"name":"q"}}'
    )
    (tmp_path / "ignored.txt").write_text("x")
    found = read_manifests([str(tmp_path)], selection)
    assert [(m.resource.kind, m.name) for m in found] == [
        ("Pod", "p"),
        ("Pod", "q"),
        ("Secret", "s"),
        ("ConfigMap", "c"),
    ]
    assert found[3].tree["data"] == {"when": "2020-01-01", "x": 10, "true": True}
    assert found[0].namespace("n") == "n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [b\n",
            "error: error parsing {0}: error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'",
        ),
        ('{"a":', "error: error parsing {0}: unexpected EOF"),
        (
            "just text",
            'error: error validating "{0}": error validating data: invalid object to validate; if you choose',
        ),
        ("kind: Pod", 'error: error validating "{0}": error validating data: apiVersion not set; if you choose'),
        (
            "a: b",
            'error: error validating "{0}": error validating data: [apiVersion not set, kind not set]; if you choose',
        ),
        (
            "apiVersion: v1\nkind: Nope\nmetadata: {name: x}",
            'error: resource mapping not found for name: "x" namespace: ""',
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: y}",
            'error: unable to decode "{0}": json: cannot unmarshal bool',
        ),
        ("", "error: no objects passed to apply"),
    ],
)
def test_files_that_cannot_be_used(selection: Selection, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "f.yml"
    file.write_text(text)
    with pytest.raises(CommandError) as caught:
        read_manifests([str(file)], selection)
    assert str(caught.value).startswith(message.format(file))


def _unpacked(tmp_path: Path, target: Path, prefix: str, *members: tuple[str, str]) -> Unpacker:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(info)
            else:
                file = tmp_path / "content"
                file.write_text(content)
                info.size = len(content)
                with file.open("rb") as stream:
                    tar.addfile(info, stream)
    unpacker = Unpacker(os.open(archive, os.O_RDONLY), prefix, str(target))
    unpacker.run()
    return unpacker


def test_copies_land_where_they_are_to(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert not _unpacked(tmp_path, target, "var/log", ("var/log/a", "1"), ("var/log/sub/b", "2")).problem
    assert (target / "a").read_text() == "1"
    assert (target / "sub" / "b").read_text() == "2"


def test_a_container_cannot_write_outside_of_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    _unpacked(tmp_path, target, "d", ("d/../../evil", "x"), ("d/link", "->/etc"), ("d/good", "y"))
    assert not (tmp_path / "evil").exists()
    assert not (target / "link").exists()
    assert (target / "good").read_text() == "y"
    err = capsys.readouterr().err
    assert "outside target destination" in err
    assert "skipping symlink" in err


def test_an_archive_with_other_names_is_refused(tmp_path: Path) -> None:
    assert _unpacked(tmp_path, tmp_path / "out", "d", ("elsewhere", "x")).problem == "tar contents corrupted"


def test_every_row_can_be_selected_by_its_own_words(selection: Selection) -> None:
    for row in TABLE:
        word = f"{row.plural}.{row.version}.{row.group}" if row.group else row.plural
        assert row in TABLE.by_any_name(word) or row in TABLE.by_any_name(row.plural), word
