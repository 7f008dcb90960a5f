"""carob's verbs print what kubectl 1.37 prints: standard output, standard error and exit code, byte for byte.

Only the program's own name may differ. Ages and counts run on between the two runs, so a difference counts when it
stays. Where kubectl 1.31 prints other words (probes in `describe`, columns of `-L`), the newest kubectl is the judge.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import same_kinds
import same_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clusters import Cluster, Result

pytestmark = [pytest.mark.root, pytest.mark.slow]

JUDGE = "1.37"
TRIES = 6

# kubectl's annotations and field managers keep their names
_NAME = re.compile(r"\bkubectl(?:-1\.37)?(?=[ ,'\"`]|$)", re.MULTILINE)


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The namespace with everything in it, and the folder with the files."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in same_words.FILES.items():
        (folder / name).write_text(text)
    cluster.kubectl(JUDGE, "apply", "-f", "-", stdin=same_words.OTHERS).check()
    cluster.kubectl(JUDGE, "apply", "-f", str(folder / "pods")).check()
    cluster.kubectl(JUDGE, "apply", "-f", "-", stdin=same_words.RICH).check()
    for pod in ("web", "pair"):
        cluster.wait_ready(pod, namespace=same_words.NAMESPACE)
    for path, what in (("{.status.phase}=Failed", "pod/done"), ("{.status.phase}=Running", "pod/rich")):
        cluster.carob("wait", "-n", same_words.NAMESPACE, f"--for=jsonpath={path}", what).check()
    yield folder
    cluster.carob("delete", "namespace", same_words.NAMESPACE, timeout=120).check()


def _shown(result: Result) -> tuple[int, str, str]:
    return result.code, _NAME.sub("carob", result.out), _NAME.sub("carob", result.err)


def _same(cluster: Cluster, folder: Path, line: str) -> None:
    words = [re.sub(r"@([a-z]+)$", lambda m: str(folder / m.group(1)), word) for word in shlex.split(line)]
    if not {"-n", "-A", "--all-namespaces"} & set(words) and words[0] not in ("api-versions", "frobnicate"):
        words[1:1] = ["-n", same_words.NAMESPACE]
    theirs, ours = _shown(cluster.kubectl(JUDGE, *words)), _shown(cluster.carob(*words))
    for _ in range(TRIES - 1):
        if theirs == ours:
            return
        theirs, ours = _shown(cluster.kubectl(JUDGE, *words)), _shown(cluster.carob(*words))
    assert ours[1] == theirs[1], "standard output"
    assert ours[2] == theirs[2], "standard error"
    assert ours[0] == theirs[0], "exit code"


def _lines(text: str) -> list[str]:
    return text.splitlines()


@pytest.mark.parametrize("line", _lines(same_words.GET))
def test_get_is_the_same(cluster: Cluster, stage: Path, line: str) -> None:
    _same(cluster, stage, line)


@pytest.mark.parametrize("line", _lines(same_words.DESCRIBE))
def test_describe_is_the_same(cluster: Cluster, stage: Path, line: str) -> None:
    _same(cluster, stage, line)


@pytest.fixture(scope="module")
def kinds(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One or more of every kind that has a describer of its own."""
    made = cluster.kubectl(JUDGE, "apply", "-f", "-", stdin=same_kinds.OBJECTS)
    assert made.code == 0, made.err
    for path, what in (("{.status.numberReady}=1", "ds/ds"), ("{.status.readyReplicas}=1", "sts/sts2")):
        cluster.carob("wait", "-n", same_kinds.NAMESPACE, f"--for=jsonpath={path}", what).check()
    cluster.carob("wait", "-n", same_kinds.NAMESPACE, "--for=condition=Complete", "job/job").check()
    yield tmp_path_factory.mktemp("kinds")
    cluster.carob("delete", "namespace", same_kinds.NAMESPACE, "--wait=false").check()
    for kind in (
        "pv/kinds-pv",
        "pv/kinds-nfs",
        "pv/kinds-csi",
        "pv/kinds-host",
        "sc/kinds-sc",
        "ingressclass/kinds-nginx",
    ):
        cluster.carob("delete", kind, "--wait=false").check()


@pytest.mark.parametrize("line", _lines(same_kinds.DESCRIBE))
def test_describe_of_every_kind_is_the_same(cluster: Cluster, kinds: Path, line: str) -> None:
    _same(cluster, kinds, f"{line} -n {same_kinds.NAMESPACE}")


@pytest.mark.parametrize("line", _lines(same_words.LOOK))
def test_looking_is_the_same(cluster: Cluster, stage: Path, line: str) -> None:
    _same(cluster, stage, line)


@pytest.mark.parametrize("line", _lines(same_words.CHANGE))
def test_changing_is_the_same(cluster: Cluster, stage: Path, line: str) -> None:
    _same(cluster, stage, line)


def test_apply_creates_keeps_and_configures_alike(cluster: Cluster, stage: Path) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {0}, labels: {{a: b}}}}\ndata: {{k: {1}}}\n"
    said: dict[str, list[str]] = {}
    for name in ("kubectl", "carob"):
        words = ("apply", "-n", same_words.NAMESPACE, "-f", "-")

        def run(text: str, name: str = name, words: tuple[str, ...] = words) -> str:
            if name == "kubectl":
                return cluster.kubectl(JUDGE, *words, stdin=text).check().out
            return cluster.carob(*words, stdin=text).check().out

        first, second = manifest.format(f"applied-{name}", "one"), manifest.format(f"applied-{name}", "two")
        said[name] = [run(text).replace(name, "NAME") for text in (first, first, second, second)]
        tree = cluster.carob("get", "-n", same_words.NAMESPACE, "cm", f"applied-{name}", "-o", "yaml").check().out
        said[name].append(
            re.sub(r"(?m)^  (creationTimestamp|resourceVersion|uid): .*\n", "", tree).replace(name, "NAME")
        )
    assert said["carob"] == [text.replace("NAME.kubernetes.io", "kubectl.kubernetes.io") for text in said["kubectl"]]
    assert [text.split()[1] for text in said["carob"][:4]] == ["created", "unchanged", "configured", "unchanged"]


def test_diff_shows_the_same(cluster: Cluster, stage: Path) -> None:
    before = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: differing}
data: {k: one}
---
apiVersion: v1
kind: Secret
metadata: {name: differing}
stringData: {k: one, l: two}
"""
    after = before.replace("k: one", "k: other, new: three") + "---\n" + before.replace("differing", "not-there")
    space = ("-n", same_words.NAMESPACE)
    cluster.carob("apply", *space, "-f", "-", stdin=before).check()

    def shown(result: Result) -> tuple[int, str, str]:
        # folders have random names, and files the time of the run
        text = re.sub(r"/\S*/(LIVE|MERGED)-[^/]*", r"\1", result.out)
        return result.code, re.sub(r"\t\d{4}-.*", "", text), result.err

    for flags in ((), ("--server-side", "--force-conflicts")):
        theirs = shown(cluster.kubectl(JUDGE, "diff", *space, *flags, "-f", "-", stdin=after))
        ours = shown(cluster.carob("diff", *space, *flags, "-f", "-", stdin=after))
        # what is made anew has a time and an identity of its own
        assert [re.sub(r"(creationTimestamp|uid): .*", r"\1", text) for text in map(str, ours)] == [
            re.sub(r"(creationTimestamp|uid): .*", r"\1", text) for text in map(str, theirs)
        ]
        assert ours[0] == 1
    assert cluster.carob("diff", *space, "-f", "-", stdin=before).check().out == ""


def test_replace_says_and_does_the_same(cluster: Cluster, stage: Path) -> None:
    made = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: replaced}\ndata: {k: one}\n"
    space = ("-n", same_words.NAMESPACE)
    cluster.carob("create", *space, "-f", "-", stdin=made).check()
    said = []

    def run(program: str, *words: str, stdin: str) -> Result:
        if program == "kubectl":
            return cluster.kubectl(JUDGE, "replace", *space, *words, "-f", "-", stdin=stdin)
        return cluster.carob("replace", *space, *words, "-f", "-", stdin=stdin)

    for program in ("kubectl", "carob"):
        changed = run(program, stdin=made.replace("one", "two")).check().out
        forced = run(program, "--force", stdin=made).check().out
        missing = run(program, stdin=made.replace("replaced", "none"))
        said.append((changed, forced, missing.code, missing.err))
    assert said[0] == said[1]
    assert cluster.carob("get", *space, "cm", "replaced", "-o", "jsonpath={.data.k}").check().out == "one"


@pytest.mark.parametrize("first", ["kubectl", "carob"])
def test_either_can_go_on_with_what_the_other_applied(cluster: Cluster, stage: Path, first: str) -> None:
    """A field that the file no longer has goes; one that somebody else set stays."""
    name = f"handed-over-{first}"
    words = ("apply", "-n", same_words.NAMESPACE, "-f", "-")
    before = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{stays: a, goes: b}}\n"
    after = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{stays: a}}\n"
    runs = [lambda text: cluster.kubectl(JUDGE, *words, stdin=text), lambda text: cluster.carob(*words, stdin=text)]
    if first == "carob":
        runs.reverse()
    runs[0](before).check()
    patch = '{"data":{"foreign":"c"}}'
    cluster.carob("patch", "-n", same_words.NAMESPACE, "cm", name, "--type=merge", "-p", patch).check()
    runs[1](after).check()
    got = cluster.carob("get", "-n", same_words.NAMESPACE, "cm", name, "-o", "jsonpath={.data}").check()
    assert got.out == '{"foreign":"c","stays":"a"}'
