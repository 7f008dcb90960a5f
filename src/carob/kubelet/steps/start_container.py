"""Start step: one container, from its spec to a running process.

What it needs from the API (ConfigMaps and Secrets of its environment) is fetched at the same time; then everything is
put together, created and started. Each failure has upstream's reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.log import get_logger, pairs
from carob.kubelet import env_file, failures
from carob.kubelet.backoff import Backoff
from carob.kubelet.container_config import Ingredients, container_config
from carob.kubelet.devices.failures import PrepareFailure
from carob.kubelet.environment import Sources, environment, references
from carob.kubelet.etc_files import hosts_file
from carob.kubelet.expansion import expand
from carob.kubelet.failures import StepFailure
from carob.kubelet.pod_record import Failure, find_container
from carob.kubelet.resources import container_resources
from carob.kubelet.security import security_context
from carob.kubelet.slots import Turn
from carob.kubelet.steps.image import pull_secrets, retry_seconds
from carob.kubelet.tools import pod_ips
from carob.runtime.types import ContainerState, RuntimeFailure

if TYPE_CHECKING:
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

_log = get_logger("kubelet.containers")
RETRY_FIRST_SECONDS = 10.0
RETRY_LONGEST_SECONDS = 60.0
SHOW_ERROR_SECONDS = 1.0
TERMINATION_FILE_MODE = 0o666
KEPT_ATTEMPTS = 2


async def start_container(tools: Tools, record: PodRecord, name: str, attempt: int) -> None:
    """Create and start it, or remember why not."""
    try:
        container_id = await _start(tools, record, name, attempt)
    except StepFailure as failure:
        tools.events(record).warning("Failed", f"Error: {failure.message}", name)
        wait = _wait(tools, record, name, attempt, failure)
        record.failures[name] = Failure(failure.reason, failure.message, tools.clock.monotonic() + wait)
        await _forget_old(tools, record, name)
        return
    record.failures.pop(name, None)
    record.containers[container_id] = await tools.runtime.container_status(container_id)
    await _forget_old(tools, record, name)


def _wait(tools: Tools, record: PodRecord, name: str, attempt: int, failure: StepFailure) -> float:
    """Seconds until the next try."""
    if failure.retry_seconds is not None:
        return failure.retry_seconds
    latest = record.latest(name)
    if latest is not None and latest.attempt == attempt:
        # it was made, and counts as one that has crashed: after a look at the error, its back-off decides
        return SHOW_ERROR_SECONDS
    now = tools.clock.monotonic()
    backoff = record.crashes.setdefault(f"{name}/{failure.reason}", Backoff(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS))
    backoff.advance(now, now)
    return backoff.delay_seconds


async def _start(tools: Tools, record: PodRecord, name: str, attempt: int) -> str:
    pod = record.sized_pod
    container = find_container(pod, name)
    sandbox = record.ready_sandbox
    assert container is not None
    if sandbox is None or record.prepared is None:
        raise StepFailure(failures.CREATE_CONTAINER_ERROR, "the pod's sandbox is gone")
    image = record.images.pop(name)
    image_ids = await _image_volumes(tools, record, container)
    sources = await _sources(tools, record, container)
    devices = await _devices(tools, record, container)
    env = environment(pod, container, sources)
    config = container_config(
        pod,
        container,
        Ingredients(
            attempt=attempt,
            image=image,
            env=env,
            volumes=record.prepared.volumes,
            images=image_ids,
            sub_paths=await _sub_paths(tools, record, container, env),
            resources=container_resources(pod, container, tools.node().groups),
            security=security_context(
                pod,
                container,
                image,
                seccomp_default=tools.options.seccomp_default,
                seccomp_root=tools.options.seccomp_root,
                target_container_id=_target(record, name),
            ),
            hosts_file=_write_hosts(tools, record),
            termination_file=_termination_file(tools, record, container, attempt),
            stop_signal=(container.lifecycle.stop_signal or "") if container.lifecycle else "",
            cdi_devices=devices,
        ),
    )
    events = tools.events(record)
    try:
        async with tools.slots.hold(Turn.CONTAINER):
            container_id = await tools.runtime.create_container(sandbox.id, config)
    except RuntimeFailure as error:
        raise StepFailure(error.reason or failures.CREATE_CONTAINER_ERROR, str(error)) from error
    if record.allocated is not None and name in record.allocated:
        record.actuated[name] = container.resources
    events.normal("Created", "Container created", name)
    if container.lifecycle is not None and container.lifecycle.post_start is not None:
        record.hooked.add(container_id)
    try:
        await tools.runtime.start_container(container_id)
    except RuntimeFailure as error:
        record.hooked.discard(container_id)
        await _keep_if_ended(tools, record, container_id)
        raise StepFailure(error.reason or failures.RUN_CONTAINER_ERROR, str(error)) from error
    events.normal("Started", "Container started", name)
    return container_id


async def _keep_if_ended(tools: Tools, record: PodRecord, container_id: str) -> None:
    """A container that could not start has ended (128, StartError); one that is still only made is not worth keeping."""
    status = await tools.runtime.container_status(container_id)
    if status.state is ContainerState.EXITED:
        record.containers[container_id] = status
    else:
        await tools.runtime.remove_container(container_id)


async def _sources(tools: Tools, record: PodRecord, container: core_v1.Container) -> Sources:
    namespace = record.pod.metadata.namespace
    wanted = list(dict.fromkeys(references(container)))
    kinds = {"ConfigMap": core_v1.ConfigMap, "Secret": core_v1.Secret}
    try:
        found = await asyncio.gather(
            *(tools.objects.get(kinds[one.kind], namespace, one.name, record.uid) for one in wanted)
        )
    except (ApiError, ConnectionError, TimeoutError) as error:
        text = str(error) or "timed out waiting for the condition"
        raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, text) from error
    by_kind: dict[str, dict[str, core_v1.ConfigMap | core_v1.Secret | None]] = {"ConfigMap": {}, "Secret": {}}
    for one, value in zip(wanted, found, strict=True):
        by_kind[one.kind][one.name] = value
    files = await _env_files(record, container)
    return Sources(by_kind["ConfigMap"], by_kind["Secret"], tools.services(), tools.facts(record), files)  # type: ignore[arg-type]


async def _env_files(record: PodRecord, container: core_v1.Container) -> dict[tuple[str, str], str | None]:
    """What earlier containers wrote for this one's environment; what cannot be read is as if it were not there."""
    sources = [variable.value_from for variable in container.env if variable.value_from is not None]
    wanted = {(one.file_key_ref.volume_name, one.file_key_ref.path) for one in sources if one.file_key_ref is not None}
    out: dict[tuple[str, str], str | None] = {}
    for name, path in wanted:
        volume = record.prepared.volumes.get(name) if record.prepared is not None else None
        if volume is None:
            words = f'cannot find the volume "{name}" referenced by FileKeyRef'
            raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, words)
        try:
            out[name, path] = await asyncio.to_thread(env_file.read, volume.path, path)
        except (OSError, env_file.EnvFileError) as error:
            # why would tell the Pod's user of the node's files
            _log.warning("cannot read an env file %s", pairs(pod=record.pod.metadata.name, path=path, error=error))
            raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, "couldn't parse env file") from error
    return out


async def _devices(tools: Tools, record: PodRecord, container: core_v1.Container) -> list[str]:
    """What the container gets of the Pod's claims of devices, by their CDI names. Raises: StepFailure."""
    if not container.resources.claims and record.pod.status.extended_resource_claim_status is None:
        return []
    try:
        # prepared with the sandbox, unless that is older than what this kubelet knows
        await tools.devices.prepare(record.pod)
        return tools.devices.cdi_devices(record.pod, container)
    except PrepareFailure as error:
        raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, str(error)) from error


async def _image_volumes(tools: Tools, record: PodRecord, container: core_v1.Container) -> dict[str, str]:
    """The images that the container mounts, on the node by now: ids by the volume's name. Raises: StepFailure."""
    assert record.prepared is not None
    out: dict[str, str] = {}
    for mount in container.volume_mounts:
        volume = record.prepared.volumes.get(mount.name)
        if volume is None or not volume.image or mount.name in out:
            continue
        wanted = core_v1.Container(name=container.name, image=volume.image, image_pull_policy=volume.pull_policy)
        secrets = await pull_secrets(tools, record, volume.image)
        try:
            image = await tools.images.ensure(record.uid, wanted, secrets, tools.events(record))
        except StepFailure as failure:
            failure.retry_seconds = retry_seconds(tools, record, volume.image, failure)
            raise
        out[mount.name] = image.id
    return out


async def _sub_paths(
    tools: Tools, record: PodRecord, container: core_v1.Container, env: dict[str, str]
) -> dict[int, str]:
    out: dict[int, str] = {}
    assert record.prepared is not None
    for index, mount in enumerate(container.volume_mounts):
        path = _expanded(mount.sub_path_expr, env) if mount.sub_path_expr else mount.sub_path
        volume = record.prepared.volumes.get(mount.name)
        if not path or volume is None:
            continue
        if path.startswith("/"):
            words = f"error SubPath `{path}` must not be an absolute path"
            raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, words)
        if ".." in path.split("/"):
            words = f"unable to provision SubPath `{path}`: must not contain '..'"
            raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, words)
        if volume.image:
            out[index] = path
            continue
        try:
            out[index] = await tools.volumes.sub_path(record.pod, volume, path, container.name, index)
        except (OSError, ValueError) as error:
            text = f'failed to prepare subPath for volumeMount "{mount.name}" of container "{container.name}"'
            # why would tell the Pod's user of the node's files
            _log.warning("%s %s", text, pairs(pod=record.pod.metadata.name, error=error))
            raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, text) from error
    return out


def _expanded(expression: str, env: dict[str, str]) -> str:
    """The path of a `subPathExpr`; a variable without a value would name a folder that nobody asked for."""
    missing: set[str] = set()

    def value(name: str) -> str:
        found = env.get(name, "")
        if not found:
            missing.add(name)
        return found

    path = expand(expression, value)
    if missing:
        text = f"missing value for {', '.join(sorted(missing))}"
        raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, text)
    return path


def _target(record: PodRecord, name: str) -> str:
    """The running container whose processes an ephemeral container wants to see."""
    for ephemeral in record.pod.spec.ephemeral_containers:
        if ephemeral.name == name and ephemeral.target_container_name:
            latest = record.latest(ephemeral.target_container_name)
            if latest is None:
                raise StepFailure(
                    failures.CREATE_CONTAINER_CONFIG_ERROR,
                    f"unable to find target container {ephemeral.target_container_name}",
                )
            return latest.id
    return ""


def _write_hosts(tools: Tools, record: PodRecord) -> str:
    pod = record.pod
    path = f"{tools.places.in_memory(record.uid)}/etc-hosts"
    node = tools.node()
    node_hosts = tools.read_text("/etc/hosts") if pod.spec.host_network else ""
    text = hosts_file(pod, pod_ips(record, node), tools.options.cluster_domain, node_hosts, node.hostname)
    try:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        if not os.path.exists(path) or tools.read_text(path) != text:
            # written in place: running containers have this very file mounted
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(path, 0o644)
    except OSError as error:
        raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, str(error)) from error
    return path


def termination_file_path(tools: Tools, uid: str, name: str, attempt: int) -> str:
    """Where an attempt of a container writes its last words."""
    return f"{tools.places.in_memory(uid)}/containers/{name}/{attempt}"


def _termination_file(tools: Tools, record: PodRecord, container: core_v1.Container, attempt: int) -> str:
    if not container.termination_message_path:
        return ""
    path = termination_file_path(tools, record.uid, container.name, attempt)
    try:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, TERMINATION_FILE_MODE))
        os.chmod(path, TERMINATION_FILE_MODE)
    except OSError as error:
        raise StepFailure(failures.CREATE_CONTAINER_CONFIG_ERROR, str(error)) from error
    return path


async def _forget_old(tools: Tools, record: PodRecord, name: str) -> None:
    """Keep the newest attempts: the present one and the one before it (`logs --previous`).

    What cannot be removed stays until the next time: it must not cost the present one.
    """
    for old in record.attempts_of(name)[KEPT_ATTEMPTS:]:
        try:
            await tools.runtime.remove_container(old.id)
        except RuntimeFailure as error:
            _log.warning("cannot remove an ended container %s", pairs(id=old.id, error=error))
            continue
        del record.containers[old.id]
        record.messages.pop(old.id, None)
        record.superseded.discard(old.id)
        record.redefined.discard(old.id)
        for path in (old.log_path, termination_file_path(tools, record.uid, name, old.attempt)):
            _unlink(path)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
