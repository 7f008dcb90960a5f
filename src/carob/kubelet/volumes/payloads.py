"""What files a configMap, secret, downwardAPI or projected volume holds. Pure.

Source: kubelet `volume/configmap`, `volume/secret`, `volume/downwardapi`, `volume/projected` (MakePayload).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from carob.api import pem
from carob.api.selectors import from_struct
from carob.kubelet.fields import Facts, pod_field, resource_field
from carob.kubelet.volumes.atomic_writer import File

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.types import certificates_v1beta1, core_v1

DEFAULT_MODE = 0o644
OWN_MODE = 0o600


class Missing(Exception):
    """Something that the volume needs does not exist; the message is upstream's."""


def config_map_files(
    name: str,
    config_map: core_v1.ConfigMap | None,
    items: Iterable[core_v1.KeyToPath],
    optional: bool | None,
    mode: int,
) -> dict[str, File]:
    """Files of a ConfigMap. Raises: Missing."""
    if config_map is None:
        if optional:
            return {}
        raise Missing(f'configmap "{name}" not found')
    values = {key: text.encode("utf-8", "surrogateescape") for key, text in config_map.data.items()}
    values |= {key: base64.b64decode(text) for key, text in config_map.binary_data.items()}
    return _chosen(values, items, optional, mode, "configmap")


def secret_files(
    name: str,
    secret: core_v1.Secret | None,
    items: Iterable[core_v1.KeyToPath],
    optional: bool | None,
    mode: int,
) -> dict[str, File]:
    """Files of a Secret. Raises: Missing."""
    if secret is None:
        if optional:
            return {}
        raise Missing(f'secret "{name}" not found')
    values = {key: base64.b64decode(text) for key, text in secret.data.items()}
    return _chosen(values, items, optional, mode, "secret")


def downward_files(
    pod: core_v1.Pod, items: Iterable[core_v1.DownwardAPIVolumeFile], mode: int, facts: Facts
) -> dict[str, File]:
    """Files with fields of the Pod. Raises: Missing for a field that there is not."""
    out = {}
    for item in items:
        try:
            if item.field_ref is not None:
                text = pod_field(pod, item.field_ref.field_path, facts)
            elif item.resource_field_ref is not None:
                text = resource_field(pod, item.resource_field_ref, item.resource_field_ref.container_name, facts)
            else:
                continue
        except ValueError as error:
            raise Missing(str(error)) from error
        out[_clean(item.path)] = File(text.encode("utf-8", "surrogateescape"), _or(item.mode, mode))
    return out


def own_file(pod: core_v1.Pod, path: str, text: str, mode: int, fs_group: int | None) -> dict[str, File]:
    """A token or a bundle: readable by the one user that all containers run as, else by everybody.

    Source: `projected.go` (collectData) and KEP-1205: mode 0600 and the user's, when there is exactly one.
    """
    user = _only_user(pod)
    if fs_group is not None:
        return {_clean(path): File(text.encode(), OWN_MODE)}
    if user is not None:
        return {_clean(path): File(text.encode(), OWN_MODE, owner=user)}
    return {_clean(path): File(text.encode(), mode)}


def trust_anchors(
    wanted: core_v1.ClusterTrustBundleProjection, bundles: Iterable[certificates_v1beta1.ClusterTrustBundle]
) -> str:
    """The certificates of the chosen bundles, each once, in an order that stays. Raises: Missing.

    Source: kubelet `clustertrustbundle_manager.go`; a selector that is not there chooses nothing, an empty one all.
    """
    chosen = list(bundles)
    if wanted.name is None:
        selector = from_struct(wanted.label_selector)
        chosen = [one for one in chosen if selector.matches(one.metadata.labels)]
    if not chosen and not wanted.optional:
        if wanted.name is None:
            raise Missing("combination of signerName and labelSelector matched zero ClusterTrustBundles")
        words = f'clustertrustbundle.certificates.k8s.io "{wanted.name}" not found'
        raise Missing(f"while getting ClusterTrustBundle: {words}")
    anchors = {block.content for one in chosen for block in pem.blocks(one.spec.trust_bundle)}
    return "".join(pem.encode(pem.CERTIFICATE, one) for one in sorted(anchors))


def _only_user(pod: core_v1.Pod) -> int | None:
    of_pod = pod.spec.security_context.run_as_user if pod.spec.security_context is not None else None
    users = set()
    for container in [*pod.spec.init_containers, *pod.spec.containers]:
        own = container.security_context.run_as_user if container.security_context is not None else None
        users.add(of_pod if own is None else own)
    return users.pop() if len(users) == 1 else None


def _chosen(
    values: Mapping[str, bytes], items: Iterable[core_v1.KeyToPath], optional: bool | None, mode: int, kind: str
) -> dict[str, File]:
    chosen = list(items)
    if not chosen:
        return {key: File(value, mode) for key, value in values.items()}
    out = {}
    for item in chosen:
        value = values.get(item.key)
        if value is None:
            if optional:
                continue
            raise Missing(f"{_NO_KEY[kind]}: {item.key}")
        out[_clean(item.path)] = File(value, _or(item.mode, mode))
    return out


_NO_KEY = {
    "configmap": "configmap references non-existent config key",
    "secret": "references non-existent secret key",
}


def _or(mode: int | None, default: int) -> int:
    return default if mode is None else mode


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))
