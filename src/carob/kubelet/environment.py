"""The environment of a container: services, envFrom, env with its references, in the order upstream lets them win. Pure.

What is referenced (ConfigMaps, Secrets) was fetched before: `references` says what, `Sources` brings it.
Source: kubelet `kubelet_pods.go` (makeEnvironmentVariables), `envvars/envvars.go`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from carob.kubelet.env_file import EnvFileError, value_of
from carob.kubelet.expansion import expand
from carob.kubelet.failures import CREATE_CONTAINER_CONFIG_ERROR, StepFailure
from carob.kubelet.fields import Facts, pod_field, resource_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from carob.api.types import core_v1

MOST_KEY_BYTES, MOST_VALUE_BYTES = 128, 32 << 10
MASTER_SERVICES = frozenset({"kubernetes"})


class Reference(NamedTuple):
    """A ConfigMap or Secret of the Pod's namespace that a container's environment needs."""

    kind: str
    name: str


class Sources(Struct, frozen=True):
    """What the environment is made of besides the Pod. An object that does not exist is None."""

    config_maps: Mapping[str, core_v1.ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, core_v1.Secret | None] = field(default_factory=dict)
    services: Iterable[core_v1.Service] = ()
    facts: Facts = field(default_factory=Facts)
    files: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """Texts of files of variables, by volume and path; None for one that is not there."""


def references(container: core_v1.Container) -> Iterator[Reference]:
    """Every ConfigMap and Secret that the environment names."""
    for source in container.env_from:
        if source.config_map_ref is not None:
            yield Reference("ConfigMap", source.config_map_ref.name)
        if source.secret_ref is not None:
            yield Reference("Secret", source.secret_ref.name)
    for variable in container.env:
        if variable.value_from is None:
            continue
        if variable.value_from.config_map_key_ref is not None:
            yield Reference("ConfigMap", variable.value_from.config_map_key_ref.name)
        if variable.value_from.secret_key_ref is not None:
            yield Reference("Secret", variable.value_from.secret_key_ref.name)


def environment(pod: core_v1.Pod, container: core_v1.Container, sources: Sources) -> dict[str, str]:
    """The variables in the order they are handed over.

    Raises: StepFailure (CreateContainerConfigError) with upstream's words for a reference that does not hold.
    """
    services = service_variables(pod.metadata.namespace, sources.services, pod.spec.enable_service_links is not False)
    result: dict[str, str] = {}
    for from_source in container.env_from:
        result.update(_env_from(pod, from_source, sources))
    known: dict[str, str] = {}
    for variable in container.env:
        value = _value(pod, container, variable, known, services, sources)
        if value is None:
            continue
        known[variable.name] = value
        result[variable.name] = value
    # variables of services come last and never replace what the user said
    for name, value in services.items():
        result.setdefault(name, value)
    return result


def service_variables(namespace: str, services: Iterable[core_v1.Service], links: bool) -> dict[str, str]:
    """`REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR` … of the Pod's namespace; always those of `kubernetes`.

    Source: `getServiceEnvVarMap`, `envvars.FromServices`.
    """
    chosen: dict[str, core_v1.Service] = {}
    for service in services:
        if service.spec.cluster_ip in ("", "None") or not service.spec.ports:
            continue
        name = service.metadata.name
        if service.metadata.namespace == "default" and name in MASTER_SERVICES:
            chosen.setdefault(name, service)
        elif service.metadata.namespace == namespace and links:
            chosen[name] = service
    out: dict[str, str] = {}
    for name in sorted(chosen):
        out.update(_of_service(chosen[name]))
    return out


def _of_service(service: core_v1.Service) -> dict[str, str]:
    prefix = service.metadata.name.upper().replace("-", "_")
    host = service.spec.cluster_ip
    first = service.spec.ports[0]
    out = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(first.port)}
    for port in service.spec.ports:
        if port.name:
            out[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    # an IPv6 address needs brackets before a port
    address = f"[{host}]" if ":" in host else host
    for i, port in enumerate(service.spec.ports):
        protocol = (port.protocol or "TCP").lower()
        url = f"{protocol}://{address}:{port.port}"
        if i == 0:
            out[f"{prefix}_PORT"] = url
        key = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        out[key] = url
        out[f"{key}_PROTO"] = protocol
        out[f"{key}_PORT"] = str(port.port)
        out[f"{key}_ADDR"] = host
    return out


def _env_from(pod: core_v1.Pod, source: core_v1.EnvFromSource, sources: Sources) -> dict[str, str]:
    if source.config_map_ref is not None:
        name, optional = source.config_map_ref.name, source.config_map_ref.optional
        config_map = sources.config_maps.get(name)
        if config_map is None:
            return _missing("configmap", name, optional)
        values: Mapping[str, str] = config_map.data
    elif source.secret_ref is not None:
        name, optional = source.secret_ref.name, source.secret_ref.optional
        secret = sources.secrets.get(name)
        if secret is None:
            return _missing("secret", name, optional)
        values = {key: _decoded(value) for key, value in secret.data.items()}
    else:
        return {}
    return {source.prefix + key: values[key] for key in sorted(values) if _is_env_name(source.prefix + key)}


def _value(
    pod: core_v1.Pod,
    container: core_v1.Container,
    variable: core_v1.EnvVar,
    known: Mapping[str, str],
    services: Mapping[str, str],
    sources: Sources,
) -> str | None:
    """The variable's value; None when an optional reference does not exist."""
    if variable.value:
        return expand(variable.value, lambda name: known.get(name, services.get(name)))
    source = variable.value_from
    if source is None:
        return ""
    try:
        if source.field_ref is not None:
            return pod_field(pod, source.field_ref.field_path, sources.facts)
        if source.resource_field_ref is not None:
            return resource_field(pod, source.resource_field_ref, container.name, sources.facts)
    except ValueError as error:
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, str(error)) from error
    if source.config_map_key_ref is not None:
        return _config_map_key(pod, source.config_map_key_ref, sources)
    if source.secret_key_ref is not None:
        return _secret_key(pod, source.secret_key_ref, sources)
    if source.file_key_ref is not None:
        return _file_key(source.file_key_ref, sources)
    return ""


def _config_map_key(pod: core_v1.Pod, ref: core_v1.ConfigMapKeySelector, sources: Sources) -> str | None:
    config_map = sources.config_maps.get(ref.name)
    if config_map is None:
        _missing("configmap", ref.name, ref.optional)
        return None
    value = config_map.data.get(ref.key)
    if value is None and not ref.optional:
        raise StepFailure(
            CREATE_CONTAINER_CONFIG_ERROR,
            f"couldn't find key {ref.key} in ConfigMap {pod.metadata.namespace}/{ref.name}",
        )
    return value


def _secret_key(pod: core_v1.Pod, ref: core_v1.SecretKeySelector, sources: Sources) -> str | None:
    secret = sources.secrets.get(ref.name)
    if secret is None:
        _missing("secret", ref.name, ref.optional)
        return None
    value = secret.data.get(ref.key)
    if value is None:
        if ref.optional:
            return None
        raise StepFailure(
            CREATE_CONTAINER_CONFIG_ERROR,
            f"couldn't find key {ref.key} in Secret {pod.metadata.namespace}/{ref.name}",
        )
    return _decoded(value)


def _file_key(ref: core_v1.FileKeySelector, sources: Sources) -> str | None:
    """Source: kubelet `kubelet_pods.go` (makeEnvironmentVariables), KEP-3721."""
    if len(ref.key) > MOST_KEY_BYTES:
        words = f'environment variable key "{ref.key}" exceeds maximum length of {MOST_KEY_BYTES} characters'
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, words)
    text = sources.files.get((ref.volume_name, ref.path))
    if text is None:
        if ref.optional:
            return None
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, "couldn't parse env file")
    try:
        value = value_of(text, ref.key)
    except EnvFileError as error:
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, f"couldn't parse env file: {error}") from error
    if len(value.encode("utf-8", "surrogateescape")) > MOST_VALUE_BYTES:
        words = f'environment variable value for key "{ref.key}" exceeds maximum size of 32KB'
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, words)
    if not value and not ref.optional:
        words = f'environment variable key "{ref.key}" not found in file "{ref.path}"'
        raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, words)
    return value or None


def _missing(kind: str, name: str, optional: bool | None) -> dict[str, str]:
    if optional:
        return {}
    raise StepFailure(CREATE_CONTAINER_CONFIG_ERROR, f'{kind} "{name}" not found')


def _decoded(value: str) -> str:
    # bytes that are no UTF-8 pass through unchanged, as Go's strings would
    return base64.b64decode(value).decode("utf-8", "surrogateescape")


def _is_env_name(name: str) -> bool:
    """Source: `validation.IsRelaxedEnvVarName`: printable ASCII without `=`."""
    return bool(name) and all(" " <= c <= "~" and c != "=" for c in name)
