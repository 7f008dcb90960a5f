"""The labels and annotations by which the kubelet finds its own sandboxes and containers again. Pure.

They are upstream's, so that tools which look at a CRI runtime know them; the restarted agent reads everything that it
needs to stop a Pod which the API no longer knows from them.
Source: kubelet `pkg/kubelet/types/labels.go`, `kuberuntime/labels.go`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.types import core_v1

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
POD_TERMINATION_GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"


def sandbox_labels(pod: core_v1.Pod) -> dict[str, str]:
    """The Pod's own labels and those that say whose sandbox it is."""
    return {**pod.metadata.labels, **_identity(pod)}


def container_labels(pod: core_v1.Pod, container_name: str) -> dict[str, str]:
    """Whose container it is."""
    return {**_identity(pod), CONTAINER_NAME: container_name}


def container_annotations(pod: core_v1.Pod, container: core_v1.Container, attempt: int) -> dict[str, str]:
    """What a later agent must know to stop this container and to tell how it ended."""
    out = {
        CONTAINER_HASH: container_hash(container),
        RESTART_COUNT: str(attempt),
        TERMINATION_MESSAGE_PATH: container.termination_message_path,
        TERMINATION_MESSAGE_POLICY: container.termination_message_policy,
    }
    if pod.spec.termination_grace_period_seconds is not None:
        out[POD_TERMINATION_GRACE_PERIOD] = str(pod.spec.termination_grace_period_seconds)
    return out


def container_hash(container: core_v1.Container) -> str:
    """The same as long as nothing has changed that only a new container can have. Source: kubelet `HashContainer`."""
    return hashlib.sha256(f"{container.name}\0{container.image}".encode()).hexdigest()[:8]


def grace_period_of(annotations: Mapping[str, str], default_seconds: int = 30) -> int:
    """The grace period that was written down when the container was made."""
    text = annotations.get(POD_TERMINATION_GRACE_PERIOD, "")
    return int(text) if text.isdigit() else default_seconds


def _identity(pod: core_v1.Pod) -> dict[str, str]:
    return {
        POD_NAME: pod.metadata.name,
        POD_NAMESPACE: pod.metadata.namespace,
        POD_UID: pod.metadata.uid,
    }
