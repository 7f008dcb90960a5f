"""Start step: the container's image, with the credentials that the Pod brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1
from carob.kubelet import failures
from carob.kubelet.credentials import pull_secrets_of
from carob.kubelet.failures import StepFailure
from carob.kubelet.images import tell_present
from carob.kubelet.pod_record import Failure, find_container

if TYPE_CHECKING:
    from carob.kubelet.credentials import PullSecret
    from carob.kubelet.pod_record import PodRecord
    from carob.kubelet.tools import Tools

# how long ErrImagePull shows before it becomes ImagePullBackOff
SHOW_ERROR_SECONDS = 2.0
RETRY_SECONDS = 10.0


async def ensure_image(tools: Tools, record: PodRecord, name: str) -> None:
    """Have the image on the node, or remember why not."""
    container = find_container(record.pod, name)
    assert container is not None
    if not record.mounted:
        await _look_early(tools, record, container)
        return
    try:
        secrets = await pull_secrets(tools, record, container.image)
        image = await tools.images.ensure(record.uid, container, secrets, tools.events(record))
    except StepFailure as failure:
        retry_at = tools.clock.monotonic() + retry_seconds(tools, record, container.image, failure)
        record.failures[name] = Failure(failure.reason, failure.message, retry_at)
        tools.events(record).warning("Failed", f"Error: {failure.reason}", name)
        return
    wanted = find_container(record.pod, name)
    if wanted is None or wanted.image != container.image:
        # the spec names another by now
        return
    record.images[name] = image
    earlier = record.failures.get(name)
    if earlier is not None and earlier.reason not in failures.START_REASONS:
        # why the last start failed is shown until the next one has succeeded
        del record.failures[name]


def retry_seconds(tools: Tools, record: PodRecord, image: str, failure: StepFailure) -> float:
    """When an image is asked for again: its error shows for a moment, then its back-off."""
    waiting = tools.images.wait_seconds(record.uid, image)
    if failure.reason == failures.IMAGE_PULL_BACK_OFF:
        return waiting
    return min(SHOW_ERROR_SECONDS, waiting) if waiting > 0 else RETRY_SECONDS


async def _look_early(tools: Tools, record: PodRecord, container: core_v1.Container) -> None:
    """Look for the image while the volumes are being set up; nothing is pulled or told before they stand."""
    present = None if record.pod.spec.image_pull_secrets else await tools.images.present(container)
    if present is None:
        record.unseen_images.add(container.name)
        return
    record.images[container.name] = present
    record.early_images.append(container)
    if record.mounted:
        tell_early_images(tools, record)


def tell_early_images(tools: Tools, record: PodRecord) -> None:
    """The volumes stand: say what was found beside them."""
    for container in record.early_images:
        tell_present(container, tools.events(record))
    record.early_images.clear()


async def pull_secrets(tools: Tools, record: PodRecord, image: str) -> list[PullSecret]:
    """Credentials of the Pod's imagePullSecrets that fit the image's registry; a missing secret is only told."""
    out: list[PullSecret] = []
    missing = []
    for reference in record.pod.spec.image_pull_secrets:
        namespace = record.pod.metadata.namespace
        try:
            secret = await tools.objects.get(core_v1.Secret, namespace, reference.name, record.uid)
        except TimeoutError:
            secret = None
        if secret is None:
            missing.append(reference.name)
        else:
            out += pull_secrets_of(secret, image)
    if missing:
        tools.events(record).warning(
            "FailedToRetrieveImagePullSecret",
            f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
            "attempting to pull the image may not succeed.",
        )
    return out
