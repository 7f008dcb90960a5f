"""A ClusterTrustBundle with the authority of the API server's serving certificate, where such bundles are served.

Source: kube-controller-manager `certificates/clustertrustbundlepublisher`: the name ends with the bundle's hash, and older
bundles of the signer go.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import certificates_v1beta1, meta_v1
from carob.client.informer import Informer
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.base.clock import Clock
    from carob.client.rest import Client

SIGNER = "kubernetes.io/kube-apiserver-serving"


def bundle_of(certificate: str) -> certificates_v1beta1.ClusterTrustBundle:
    """The bundle as it has to be."""
    digest = hashlib.sha256(certificate.encode()).digest()[:12].hex()
    name = f"{SIGNER.replace('/', ':')}:{digest}"
    spec = certificates_v1beta1.ClusterTrustBundleSpec(signer_name=SIGNER, trust_bundle=certificate)
    return certificates_v1beta1.ClusterTrustBundle(metadata=meta_v1.ObjectMeta(name=name), spec=spec)


class TrustBundlePublisher:
    """One key: there is one bundle to publish."""

    def __init__(self, client: Client, certificate: str, clock: Clock) -> None:
        self._client = client
        self._wanted = bundle_of(certificate)
        kind = certificates_v1beta1.ClusterTrustBundle
        self.bundles = Informer(client, kind, clock, field_selector=f"spec.signerName={SIGNER}")
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self.bundles.wait_synced()
        self.bundles.subscribe(lambda key, old, new: self._queue.add(SIGNER))
        self._queue.add(SIGNER)
        await self._queue.work(self._sync, 1, "trust bundle publisher")

    async def _sync(self, _key: str) -> None:
        name = self._wanted.metadata.name
        known = self.bundles.get(name)
        if known is None:
            await _unless("AlreadyExists", self._client.create(self._wanted))
        elif known.spec != self._wanted.spec:
            version = known.metadata.resource_version
            metadata = meta_v1.ObjectMeta(name=name, resource_version=version)
            wanted = certificates_v1beta1.ClusterTrustBundle(metadata=metadata, spec=self._wanted.spec)
            await _unless("NotFound", self._client.update(wanted))
        for older in {*self.bundles.keys()} - {name}:
            await _unless("NotFound", self._client.delete(certificates_v1beta1.ClusterTrustBundle, older))


async def _unless(reason: str, write: Awaitable[object]) -> None:
    """Write; who was faster has told the informer."""
    try:
        await write
    except ApiError as error:
        if error.reason != reason:
            raise
