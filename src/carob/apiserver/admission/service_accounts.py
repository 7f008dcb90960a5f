"""ServiceAccount: every Pod runs as a service account that exists, and finds that account's token in a volume.

Source: kubernetes `plugin/pkg/admission/serviceaccount`; KEP-542 for the projected volume.
Differs: reference limits by the deprecated annotation `kubernetes.io/enforce-mountable-secrets` are not enforced.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.apiserver.admission.refusals import PODS, creates, refused
from carob.apiserver.authn.service_accounts import SERVICE_ACCOUNTS, WARN_ONLY_EXPIRATION_SECONDS
from carob.base.ids import random_suffix

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader
    from carob.base.ids import Randomness

DEFAULT = "default"
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA = "kube-root-ca.crt"
_VOLUME_PREFIX = "kube-api-access-"
_MIRROR = "kubernetes.io/config.mirror"


class ServiceAccountMissing(ApiError):
    """A Pod's service account is not there (yet): who has time may wait for it and try again."""

    def __init__(self, error: ApiError, namespace: str, account: str) -> None:
        super().__init__(error.code, error.reason, error.message, error.details)
        self.namespace = namespace
        self.account = account


class ServiceAccountAdmission:
    """See the module."""

    name = "ServiceAccount"
    handles = frozenset((("", "pods"),))

    def __init__(self, reader: Reader, randomness: Randomness) -> None:
        self._reader = reader
        self._randomness = randomness
        # namespace, name -> the account, or None; forgotten when it changes
        self._known: dict[tuple[str, str], Any] = {}
        reader.on_change(SERVICE_ACCOUNTS, lambda namespace, name: self._known.pop((namespace, name), None))

    def admit(self, attributes: Attributes) -> None:
        """Name the account, mount its token, take over its pull secrets."""
        if not creates(attributes, PODS):
            return
        pod: core_v1.Pod = attributes.obj
        if _MIRROR in pod.metadata.annotations:
            _check_mirror(attributes, pod)
            return
        spec = pod.spec
        spec.service_account_name = spec.service_account_name or spec.service_account or DEFAULT
        spec.service_account = spec.service_account_name
        account = self._account(attributes, spec.service_account_name)
        automount = spec.automount_service_account_token
        if automount is None:
            automount = account.automount_service_account_token
        if automount is not False:
            self._mount_token(spec)
        if not spec.image_pull_secrets:
            spec.image_pull_secrets = list(account.image_pull_secrets)

    def validate(self, attributes: Attributes) -> None:
        """The account must still be there."""
        if creates(attributes, PODS) and _MIRROR not in attributes.obj.metadata.annotations:
            self._account(attributes, attributes.obj.spec.service_account_name)

    def _account(self, attributes: Attributes, name: str) -> Any:
        namespace = attributes.namespace
        account = self._known.get((namespace, name))
        if account is None:
            account = self._reader.get(SERVICE_ACCOUNTS, namespace, name)
            if account is None:
                why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
                raise ServiceAccountMissing(refused(attributes, why), namespace, name)
            if len(self._known) > 4096:
                self._known.clear()
            self._known[namespace, name] = account
        return account

    def _mount_token(self, spec: core_v1.PodSpec) -> None:
        existing = next((v.name for v in spec.volumes if v.name.startswith(_VOLUME_PREFIX)), "")
        name = existing or _VOLUME_PREFIX + random_suffix(self._randomness)
        mounted = False
        for container in (*spec.init_containers, *spec.containers):
            if any(mount.mount_path == TOKEN_DIRECTORY for mount in container.volume_mounts):
                continue
            mount = core_v1.VolumeMount(name=name, read_only=True, mount_path=TOKEN_DIRECTORY)
            container.volume_mounts = [*container.volume_mounts, mount]
            mounted = True
        if mounted and not existing:
            spec.volumes = [*spec.volumes, core_v1.Volume(name=name, projected=_token_source())]


@cache
def _token_source() -> core_v1.ProjectedVolumeSource:
    """The projected volume with the token, the cluster's CA and the Pod's namespace.

    All Pods share this one Struct: it is encoded with each of them and nobody changes it.
    """
    token = core_v1.ServiceAccountTokenProjection(path="token", expiration_seconds=WARN_ONLY_EXPIRATION_SECONDS)
    ca = core_v1.ConfigMapProjection(name=ROOT_CA, items=[core_v1.KeyToPath(key="ca.crt", path="ca.crt")])
    field = core_v1.ObjectFieldSelector(api_version="v1", field_path="metadata.namespace")
    namespace = core_v1.DownwardAPIProjection(items=[core_v1.DownwardAPIVolumeFile(path="namespace", field_ref=field)])
    return core_v1.ProjectedVolumeSource(
        default_mode=0o644,
        sources=[
            core_v1.VolumeProjection(service_account_token=token),
            core_v1.VolumeProjection(config_map=ca),
            core_v1.VolumeProjection(downward_api=namespace),
        ],
    )


def _check_mirror(attributes: Attributes, pod: core_v1.Pod) -> None:
    if pod.spec.service_account_name:
        raise refused(attributes, "a mirror pod may not reference service accounts")
    for volume in pod.spec.volumes:
        if volume.secret is not None:
            raise refused(attributes, "a mirror pod may not reference secrets")
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.service_account_token is not None:
                raise refused(attributes, "a mirror pod may not use ServiceAccountToken volume projections")
