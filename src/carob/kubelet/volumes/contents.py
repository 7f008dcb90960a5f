"""Fetches what API-backed volumes hold: ConfigMaps, Secrets, tokens, fields of the Pod. Touches the API only.

Everything that one Pod needs is asked for at the same time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api.status import ApiError
from carob.api.types import certificates_v1beta1, core_v1
from carob.kubelet.failures import VolumeFailure
from carob.kubelet.volumes import payloads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from carob.kubelet.fields import Facts
    from carob.kubelet.objects import ReferencedObjects
    from carob.kubelet.tokens import Tokens
    from carob.kubelet.volumes.atomic_writer import File


class Contents(Struct):
    """Files of one volume; `renew_at` (wall clock) is when a token in it should be replaced, 0 for never."""

    files: dict[str, File] = field(default_factory=dict)
    renew_at: float = 0.0


class ContentReader:
    """Reads the content of one volume after another, or of many at once."""

    def __init__(self, objects: ReferencedObjects, tokens: Tokens) -> None:
        self._objects = objects
        self._tokens = tokens

    async def read_all(
        self, pod: core_v1.Pod, volumes: Sequence[core_v1.Volume], facts: Facts
    ) -> Mapping[str, Contents]:
        """The contents of those volumes that come from the API, by the volume's name. Raises: VolumeFailure."""
        reading: list[tuple[str, Awaitable[Contents]]] = [
            (volume.name, self._read(pod, volume, facts)) for volume in volumes if is_api_backed(volume)
        ]
        results = await asyncio.gather(*(one for _, one in reading), return_exceptions=True)
        out = {}
        failed: list[VolumeFailure] = []
        for (name, _), result in zip(reading, results, strict=True):
            if isinstance(result, VolumeFailure):
                failed.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                out[name] = result
        if failed:
            failed[0].others = failed[1:]
            raise failed[0]
        return out

    async def _read(self, pod: core_v1.Pod, volume: core_v1.Volume, facts: Facts) -> Contents:
        try:
            if volume.projected is not None:
                return await self._projected(pod, volume.projected, facts)
            if volume.config_map is not None:
                source = volume.config_map
                return Contents(await self._config_map(pod, source, _mode(source.default_mode)))
            if volume.secret is not None:
                return Contents(await self._secret(pod, volume.secret))
            assert volume.downward_api is not None
            downward = volume.downward_api
            return Contents(payloads.downward_files(pod, downward.items, _mode(downward.default_mode), facts))
        except (payloads.Missing, ApiError, ConnectionError) as error:
            raise VolumeFailure(volume.name, str(error)) from error
        except TimeoutError as error:
            raise VolumeFailure(volume.name, "timed out waiting for the condition") from error

    async def _config_map(
        self, pod: core_v1.Pod, source: core_v1.ConfigMapVolumeSource | core_v1.ConfigMapProjection, mode: int
    ) -> dict[str, File]:
        found = await self._objects.get(core_v1.ConfigMap, pod.metadata.namespace, source.name, pod.metadata.uid)
        return payloads.config_map_files(source.name, found, source.items, source.optional, mode)

    async def _secret(self, pod: core_v1.Pod, source: core_v1.SecretVolumeSource) -> dict[str, File]:
        name = source.secret_name
        found = await self._objects.get(core_v1.Secret, pod.metadata.namespace, name, pod.metadata.uid)
        return payloads.secret_files(name, found, source.items, source.optional, _mode(source.default_mode))

    async def _projected(self, pod: core_v1.Pod, projected: core_v1.ProjectedVolumeSource, facts: Facts) -> Contents:
        mode = _mode(projected.default_mode)
        parts = await asyncio.gather(
            *(self._projection(pod, source, mode, facts) for source in projected.sources), return_exceptions=True
        )
        out = Contents()
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            out.files.update(part.files)
            if part.renew_at:
                out.renew_at = min(out.renew_at or part.renew_at, part.renew_at)
        return out

    async def _projection(
        self, pod: core_v1.Pod, source: core_v1.VolumeProjection, mode: int, facts: Facts
    ) -> Contents:
        if source.service_account_token is not None:
            wanted = source.service_account_token
            token = await self._tokens.get(pod, wanted.audience, wanted.expiration_seconds)
            files = payloads.own_file(pod, wanted.path, token.text, mode, fs_group(pod))
            return Contents(files, token.renew_at)
        if source.config_map is not None:
            return Contents(await self._config_map(pod, source.config_map, mode))
        if source.secret is not None:
            secret = source.secret
            found = await self._objects.get(core_v1.Secret, pod.metadata.namespace, secret.name, pod.metadata.uid)
            return Contents(payloads.secret_files(secret.name, found, secret.items, secret.optional, mode))
        if source.downward_api is not None:
            return Contents(payloads.downward_files(pod, source.downward_api.items, mode, facts))
        if source.cluster_trust_bundle is not None:
            bundle = source.cluster_trust_bundle
            text = payloads.trust_anchors(bundle, await self._bundles(bundle, pod.metadata.uid))
            return Contents(payloads.own_file(pod, bundle.path, text, mode, fs_group(pod)))
        raise payloads.Missing("this kind of projection is not supported")

    async def _bundles(
        self, wanted: core_v1.ClusterTrustBundleProjection, user: str
    ) -> list[certificates_v1beta1.ClusterTrustBundle]:
        kind = certificates_v1beta1.ClusterTrustBundle
        if wanted.name is not None:
            found = await self._objects.get(kind, "", wanted.name, user)
            return [] if found is None else [found]
        return await self._objects.select(kind, f"spec.signerName={wanted.signer_name}", user)


def is_api_backed(volume: core_v1.Volume) -> bool:
    """Whether the volume's files come from the API."""
    return not (
        volume.projected is None and volume.config_map is None and volume.secret is None and volume.downward_api is None
    )


def fs_group(pod: core_v1.Pod) -> int | None:
    """The group that the Pod's volumes belong to."""
    return pod.spec.security_context.fs_group if pod.spec.security_context is not None else None


def _mode(mode: int | None) -> int:
    return payloads.DEFAULT_MODE if mode is None else mode
