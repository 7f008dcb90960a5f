"""What `describe` says of a container, in kubectl's words."""

from __future__ import annotations

from carob.cli.describers.containers import containers
from carob.cli.describers.writer import Writer


def described(**spec: object) -> str:
    writer = Writer()
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "status": {"podIP": "10.42.0.9"}}
    containers(writer, "Containers", [{"name": "c", "image": "i", **spec}], None, pod)
    return writer.text()


def _from_field(name: str, path: str) -> dict[str, object]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def test_only_the_name_and_the_namespace_are_filled_in() -> None:
    fields = {"N": "metadata.name", "NS": "metadata.namespace", "IP": "status.podIP", "U": "metadata.uid"}
    text = described(env=[_from_field(name, path) for name, path in fields.items()])
    shown = [line.split() for line in text.splitlines() if "(v1:" in line]
    assert shown == [
        ["N:", "p", "(v1:metadata.name)"],
        ["NS:", "n", "(v1:metadata.namespace)"],
        ["IP:", "(v1:status.podIP)"],
        ["U:", "(v1:metadata.uid)"],
    ]


def test_the_seccomp_profile_stands_behind_the_ports() -> None:
    profile = {"type": "Localhost", "localhostProfile": "p.json"}
    lines = described(securityContext={"seccompProfile": profile}).splitlines()
    at = next(i for i, line in enumerate(lines) if "Host Port" in line)
    assert lines[at + 1].split() == ["SeccompProfile:", "Localhost"]
    assert lines[at + 2].split() == ["LocalhostProfile:", "p.json"]
