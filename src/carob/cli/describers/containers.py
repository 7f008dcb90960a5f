"""The containers of a Pod: configuration beside state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers.parts import resource_list, rfc1123

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree
    from carob.cli.describers.writer import Writer


def containers(
    writer: Writer,
    title: str,
    specs: Sequence[Tree],
    statuses: Sequence[Tree] | None,
    pod: Tree,
    *,
    template: bool = False,
) -> None:
    """`Containers:` and all that is known of each; those of a `template` have no values of a Pod yet."""
    indent = "  " if template else ""
    writer.line(0, f"{indent}{title}:" if specs else f"{indent}{title}: <none>")
    by_name = {status.get("name"): status for status in statuses or []}
    for spec in specs:
        writer.line(1, f"{' ' if template else ''}{spec.get('name')}:")
        _container(writer, spec, by_name.get(spec.get("name")), None if template else pod)


def _container(writer: Writer, spec: Tree, status: Tree | None, pod: Tree | None) -> None:
    if status is not None:
        writer.line(2, f"Container ID:\t{status.get('containerID', '')}")
    writer.line(2, f"Image:\t{spec.get('image', '')}")
    if status is not None:
        writer.line(2, f"Image ID:\t{status.get('imageID', '')}")
    _ports(writer, spec.get("ports") or [])
    seccomp = (spec.get("securityContext") or {}).get("seccompProfile")
    if seccomp:
        writer.line(2, f"SeccompProfile:\t{seccomp.get('type', '')}")
        if seccomp.get("localhostProfile"):
            writer.line(3, f"LocalhostProfile:\t{seccomp['localhostProfile']}")
    for field, title in (("command", "Command"), ("args", "Args")):
        if spec.get(field):
            writer.line(2, f"{title}:")
            for word in spec[field]:
                for line in word.split("\n"):
                    writer.line(3, line)
    if status is not None:
        _state(writer, "State", status.get("state") or {})
        if (status.get("lastState") or {}).get("terminated"):
            _state(writer, "Last State", status["lastState"])
        writer.line(2, f"Ready:\t{status.get('ready', False)}")
        writer.line(2, f"Restart Count:\t{status.get('restartCount', 0)}")
    resources = spec.get("resources") or {}
    resource_list(writer, "Limits", resources.get("limits"), 2)
    resource_list(writer, "Requests", resources.get("requests"), 2)
    for field, title in (("livenessProbe", "Liveness"), ("readinessProbe", "Readiness"), ("startupProbe", "Startup")):
        if spec.get(field):
            writer.line(2, f"{title}:\t{_probe(spec[field])}")
    _environment_from(writer, spec.get("envFrom") or [])
    _environment(writer, spec, pod)
    _mounts(writer, spec)


def _ports(writer: Writer, ports: Sequence[Tree]) -> None:
    inside = ", ".join(_port(p, "containerPort") for p in ports)
    outside = ", ".join(_port(p, "hostPort") for p in ports)
    writer.line(2, f"{'Ports' if ',' in inside else 'Port'}:\t{inside or '<none>'}")
    writer.line(2, f"{'Host Ports' if ',' in outside else 'Host Port'}:\t{outside or '<none>'}")


def _port(port: Tree, field: str) -> str:
    text = f"{port.get(field, 0)}/{port.get('protocol', 'TCP')}"
    return f"{text} ({port['name']})" if port.get("name") else text


def _state(writer: Writer, title: str, state: Tree) -> None:
    if state.get("running"):
        writer.line(2, f"{title}:\tRunning")
        writer.line(3, f"Started:\t{_time(state['running'].get('startedAt'))}")
    elif state.get("terminated"):
        ended = state["terminated"]
        writer.line(2, f"{title}:\tTerminated")
        if ended.get("reason"):
            writer.line(3, f"Reason:\t{ended['reason']}")
        if ended.get("message"):
            writer.line(3, f"Message:\t{ended['message']}")
        writer.line(3, f"Exit Code:\t{ended.get('exitCode', 0)}")
        if ended.get("signal"):
            writer.line(3, f"Signal:\t{ended['signal']}")
        writer.line(3, f"Started:\t{_time(ended.get('startedAt'))}")
        writer.line(3, f"Finished:\t{_time(ended.get('finishedAt'))}")
    else:
        writer.line(2, f"{title}:\tWaiting")
        reason = (state.get("waiting") or {}).get("reason")
        if reason:
            writer.line(3, f"Reason:\t{reason}")


def _time(text: str | None) -> str:
    return rfc1123(text) if text else "Mon, 01 Jan 0001 00:00:00 +0000"


def _probe(probe: Tree) -> str:
    attributes = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 0)}s "
        f"period={probe.get('periodSeconds', 0)}s successThreshold={probe.get('successThreshold', 0)} "
        f"failureThreshold={probe.get('failureThreshold', 0)}"
    )
    if probe.get("exec"):
        return f"exec [{' '.join(probe['exec'].get('command') or [])}] {attributes}"
    if probe.get("httpGet"):
        get = probe["httpGet"]
        path = get.get("path", "")
        path = path if not path or path.startswith("/") else "/" + path
        return (
            f"http-get {get.get('scheme', 'HTTP').lower()}://{get.get('host', '')}:{get.get('port')}{path} {attributes}"
        )
    if probe.get("tcpSocket"):
        return f"tcp-socket {probe['tcpSocket'].get('host', '')}:{probe['tcpSocket'].get('port')} {attributes}"
    if probe.get("grpc"):
        return f"grpc <pod>:{probe['grpc'].get('port')} {probe['grpc'].get('service') or ''} {attributes}"
    return f"unknown {attributes}"


def _environment_from(writer: Writer, sources: Sequence[Tree]) -> None:
    if not sources:
        return
    writer.line(2, "Environment Variables from:")
    for source in sources:
        kind, title = ("configMapRef", "ConfigMap") if source.get("configMapRef") else ("secretRef", "Secret")
        reference = source.get(kind) or {}
        prefix = f" with prefix '{source['prefix']}'" if source.get("prefix") else ""
        optional = "true" if reference.get("optional") else "false"
        writer.line(3, f"{reference.get('name', '')}\t{title}{prefix}\tOptional: {optional}")


def _environment(writer: Writer, spec: Tree, pod: Tree | None) -> None:
    variables = spec.get("env") or []
    writer.line(2, "Environment:" + ("" if variables else "\t<none>"))
    for variable in variables:
        source = variable.get("valueFrom")
        name = variable.get("name")
        if not source:
            for index, line in enumerate((variable.get("value") or "").split("\n")):
                writer.line(3, f"{name}:\t{line}" if index == 0 else f"\t{line}")
        elif source.get("fieldRef"):
            field = source["fieldRef"]
            value = _field_value(pod, field.get("fieldPath", ""))
            writer.line(3, f"{name}:\t{value} ({field.get('apiVersion', 'v1')}:{field.get('fieldPath', '')})")
        elif source.get("resourceFieldRef"):
            resource = source["resourceFieldRef"].get("resource", "")
            writer.line(3, f"{name}:\t{_resource_value(spec, source['resourceFieldRef'])} ({resource})")
        elif source.get("secretKeyRef"):
            key = source["secretKeyRef"]
            optional = "true" if key.get("optional") else "false"
            writer.line(
                3, f"{name}:\t<set to the key '{key.get('key')}' in secret '{key.get('name')}'>\tOptional: {optional}"
            )
        elif source.get("configMapKeyRef"):
            key = source["configMapKeyRef"]
            optional = "true" if key.get("optional") else "false"
            writer.line(
                3,
                f"{name}:\t<set to the key '{key.get('key')}' of config map '{key.get('name')}'>\tOptional: {optional}",
            )


def _field_value(pod: Tree | None, path: str) -> str:
    """kubectl knows the values of these fields only."""
    if pod is None or path not in ("metadata.name", "metadata.namespace"):
        return ""
    return str(pod["metadata"].get(path.removeprefix("metadata."), ""))


def _resource_value(spec: Tree, reference: Tree) -> str:
    kind, _, name = reference.get("resource", "").partition(".")
    value = ((spec.get("resources") or {}).get(kind) or {}).get(name)
    if value is None:
        return "node allocatable" if kind == "limits" and name in ("cpu", "memory") else "0"
    from carob.api import quantity

    divisor = reference.get("divisor", "0")
    if quantity.compare(divisor, "0") == 0:
        divisor = "1"
    return str(-(-quantity.nano(value) // quantity.nano(divisor)))


def _mounts(writer: Writer, spec: Tree) -> None:
    mounts = spec.get("volumeMounts") or []
    writer.line(2, "Mounts:" + ("" if mounts else "\t<none>"))
    for mount in sorted(mounts, key=lambda m: m.get("mountPath", "")):
        flags = ["ro" if mount.get("readOnly") else "rw"]
        if mount.get("subPath"):
            flags.append(f'path="{mount["subPath"]}"')
        writer.line(3, f"{mount.get('mountPath')} from {mount.get('name')} ({','.join(flags)})")
    devices = spec.get("volumeDevices") or []
    if devices:
        writer.line(2, "Devices:")
        for device in sorted(devices, key=lambda d: d.get("devicePath", "")):
            writer.line(3, f"{device.get('devicePath')} from {device.get('name')}")
