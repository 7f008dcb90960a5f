"""Certificate signing requests: nodes' own are approved, what is approved is signed.

- A kubelet's client certificate (signer kube-apiserver-client-kubelet) is approved when its requester may create
  `certificatesigningrequests/nodeclient` (a bootstrap token's group may) or, for its own renewal, `.../selfnodeclient`.
- A kubelet's serving certificate (signer kubelet-serving) is approved when the node itself asks and every name and
  address in it is one that its Node object has.
- The client certificate by which a node's agent reads what its network needs (signer kube-apiserver-client, group
  system:carob:node-network) is approved when the node itself asks and it bears the node's own name.
- Whoever approved: the built-in signers sign what keeps their rules; else the request gets the condition Failed.
- Requests that are done with, or that nobody answered, are removed after a while.

Source: kube-controller-manager certificates/approver (sarapprove.go), certificates/signer (signer.go), apis/certificates
helpers (ValidateKubeletClientCSR, ValidateKubeletServingCSR), certificates/cleaner.
Differs: upstream leaves serving certificates to somebody else's approval.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from carob.api.status import ApiError
from carob.api.types import authorization_v1, certificates_v1, core_v1
from carob.base.clock import parse_rfc3339, rfc3339
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.certificates import RequestFacts

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
NODE_PREFIX, NODES_GROUP = "system:node:", "system:nodes"
NETWORK_PREFIX, NETWORK_GROUP = "system:carob:network:", "system:carob:node-network"
WORKERS = 2
PENDING_SECONDS = 24 * 3600.0
ANSWERED_SECONDS = 3600.0

_CLIENT_USAGES = ({"digital signature", "client auth"}, {"key encipherment", "digital signature", "client auth"})
_SERVING_USAGES = ({"digital signature", "server auth"}, {"key encipherment", "digital signature", "server auth"})

Csr = certificates_v1.CertificateSigningRequest


def has_condition(csr: Csr, kind: str) -> bool:
    """Whether the request has this condition, whatever its status says."""
    return any(condition.type == kind for condition in csr.status.conditions)


def removed_at(csr: Csr) -> float | None:
    """When a request is no longer kept (seconds since 1970): an hour after its answer, a day if there is none."""
    answered = [c.last_update_time for c in csr.status.conditions if c.type in ("Approved", "Denied", "Failed")]
    since = max(filter(None, answered), default=None)
    if since is not None:
        return parse_rfc3339(since) + ANSWERED_SECONDS
    made = csr.metadata.creation_timestamp
    return parse_rfc3339(made) + PENDING_SECONDS if made else None


def complaint(signer: str, facts: RequestFacts, usages: list[str]) -> str:
    """Why a signer's rules forbid to sign this; empty when they allow it."""
    asked = set(usages)
    if signer == CLIENT:
        extra = asked - _CLIENT_USAGES[1]
        return "" if "client auth" in asked and not extra else f"invalid usages for client certificate: {usages}"
    if signer not in (KUBELET_CLIENT, KUBELET_SERVING):
        return ""
    if facts.organizations != (NODES_GROUP,):
        return f"subject organization is not {NODES_GROUP}"
    if not facts.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    if facts.others:
        return "email and URI subjectAltNames are not allowed"
    if signer == KUBELET_CLIENT:
        if facts.dns_names or facts.addresses:
            return "DNS and IP subjectAltNames are not allowed"
        return "" if asked in _CLIENT_USAGES else f"usages did not match {sorted(_CLIENT_USAGES[1])}"
    if not facts.dns_names and not facts.addresses:
        return "DNS or IP subjectAltName is required"
    return "" if asked in _SERVING_USAGES else f"usages did not match {sorted(_SERVING_USAGES[1])}"


def approvals(csr: Csr, facts: RequestFacts) -> list[tuple[str, str]]:
    """The subresources of which the requester must be allowed to create one, each with the words of the approval."""
    spec = csr.spec
    if spec.signer_name != KUBELET_CLIENT or complaint(spec.signer_name, facts, spec.usages):
        return []
    asked = [("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")]
    if facts.common_name == spec.username:
        own = "Auto approving self kubelet client certificate after SubjectAccessReview."
        asked.insert(0, ("selfnodeclient", own))
    return asked


def may_serve(csr: Csr, facts: RequestFacts, node: core_v1.Node | None) -> bool:
    """Whether a node asks for its own serving certificate, with no name or address but its own."""
    spec = csr.spec
    if spec.signer_name != KUBELET_SERVING or complaint(spec.signer_name, facts, spec.usages):
        return False
    if node is None or not spec.username == facts.common_name == NODE_PREFIX + node.metadata.name:
        return False
    own = {address.address for address in node.status.addresses} | {node.metadata.name}
    return {*facts.dns_names, *facts.addresses} <= own


def may_read_network(csr: Csr, facts: RequestFacts) -> bool:
    """Whether a node asks for its own network agent's certificate, and for nothing more."""
    spec = csr.spec
    if spec.signer_name != CLIENT or set(spec.usages) not in _CLIENT_USAGES:
        return False
    node = spec.username.removeprefix(NODE_PREFIX)
    if not spec.username.startswith(NODE_PREFIX) or NODES_GROUP not in spec.groups:
        return False
    plain = not facts.dns_names and not facts.addresses and not facts.others
    return plain and facts.organizations == (NETWORK_GROUP,) and facts.common_name == NETWORK_PREFIX + node


class CsrController:
    """Keys are names of requests. `ca_certificate` and `ca_key` are files, read when something is to be signed."""

    def __init__(
        self,
        client: Client,
        csrs: Informer[Csr],
        nodes: Informer[core_v1.Node],
        ca_certificate: Path,
        ca_key: Path,
        clock: Clock,
    ) -> None:
        self._client = client
        self._csrs = csrs
        self._nodes = nodes
        self._ca_certificate = ca_certificate
        self._ca_key = ca_key
        self._clock = clock
        self._queue = WorkQueue(clock)

    async def run(self) -> None:
        """Until cancelled."""
        await self._csrs.wait_synced()
        await self._nodes.wait_synced()
        self._csrs.subscribe(lambda key, old, new: self._queue.add(key))
        self._nodes.subscribe(self._node_changed)
        await self._queue.work(self._sync, WORKERS, "certificates")

    def _node_changed(self, key: str, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        """A node may ask for its certificate before it has said which addresses it has."""
        if new is not None and (old is None or old.status.addresses != new.status.addresses):
            for csr in self._csrs.items():
                if csr.spec.username == NODE_PREFIX + key:
                    self._queue.add(csr.metadata.name)

    async def _sync(self, key: str) -> None:
        csr = self._csrs.get(key)
        if csr is None or await self._removed(csr):
            return
        if csr.spec.signer_name not in SIGNERS or csr.status.certificate:
            return
        if has_condition(csr, "Denied") or has_condition(csr, "Failed"):
            return
        approved = has_condition(csr, "Approved")
        ours = csr.spec.signer_name in (KUBELET_CLIENT, KUBELET_SERVING)
        # of other requests only nodes' own may be ours to approve
        if not approved and not ours and not csr.spec.username.startswith(NODE_PREFIX):
            return
        try:
            facts = _facts(csr)
        except ValueError as error:
            if approved:
                await self._fail(csr, f"unable to parse csr: {error}")
            return
        if approved:
            await self._sign(csr, facts)
        else:
            await self._approve(csr, facts)

    async def _removed(self, csr: Csr) -> bool:
        """Remove it if its time is over; else come back when it is."""
        due = removed_at(csr)
        if due is None:
            return False
        left = due - self._clock.now()
        if left > 0:
            self._queue.add_after(csr.metadata.name, left)
            return False
        try:
            await self._client.delete(Csr, csr.metadata.name, uid=csr.metadata.uid)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
        return True

    async def _approve(self, csr: Csr, facts: RequestFacts) -> None:
        for subresource, words in approvals(csr, facts):
            if await self._allowed(csr, subresource):
                await self._say(csr, "Approved", "AutoApproved", words, "approval")
                return
        if may_read_network(csr, facts):
            words = "Auto approving the certificate of the node's own network agent."
            await self._say(csr, "Approved", "AutoApproved", words, "approval")
        if may_serve(csr, facts, self._nodes.get(facts.common_name.removeprefix(NODE_PREFIX))):
            words = "Auto approving kubelet serving certificate for the node's own addresses."
            await self._say(csr, "Approved", "AutoApproved", words, "approval")

    async def _allowed(self, csr: Csr, subresource: str) -> bool:
        spec = csr.spec
        review = authorization_v1.SubjectAccessReview(
            spec=authorization_v1.SubjectAccessReviewSpec(
                user=spec.username,
                groups=spec.groups,
                uid=spec.uid,
                extra=spec.extra,
                resource_attributes=authorization_v1.ResourceAttributes(
                    group="certificates.k8s.io",
                    version="*",
                    resource="certificatesigningrequests",
                    verb="create",
                    subresource=subresource,
                ),
            )
        )
        return (await self._client.create(review)).status.allowed

    async def _sign(self, csr: Csr, facts: RequestFacts) -> None:
        from carob.controllers.certificates import sign

        spec = csr.spec
        wrong = complaint(spec.signer_name, facts, spec.usages)
        if wrong:
            await self._fail(csr, wrong)
            return
        try:
            certificate = sign(
                base64.b64decode(spec.request),
                self._ca_certificate.read_bytes(),
                self._ca_key.read_bytes(),
                spec.usages,
                spec.expiration_seconds,
                self._clock.now(),
            )
        except ValueError as error:
            await self._fail(csr, str(error))
            return
        fresh = await self._get(csr)
        if fresh is not None and not fresh.status.certificate:
            fresh.status.certificate = base64.b64encode(certificate).decode()
            await self._client.update(fresh, subresource="status")

    async def _fail(self, csr: Csr, message: str) -> None:
        await self._say(csr, "Failed", "SignerValidationFailure", message, "status")

    async def _say(self, csr: Csr, kind: str, reason: str, message: str, subresource: str) -> None:
        fresh = await self._get(csr)
        if fresh is None or has_condition(fresh, kind):
            return
        now = rfc3339(self._clock.now())
        fresh.status.conditions.append(
            certificates_v1.CertificateSigningRequestCondition(
                type=kind,
                status="True",
                reason=reason,
                message=message,
                last_update_time=now,
                last_transition_time=now,
            )
        )
        await self._client.update(fresh, subresource=subresource)

    async def _get(self, csr: Csr) -> Csr | None:
        """The request as it is now; what the informer has must not be changed."""
        try:
            fresh = await self._client.get(Csr, csr.metadata.name)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
        return fresh if fresh.metadata.uid == csr.metadata.uid else None


def _facts(csr: Csr) -> RequestFacts:
    from carob.controllers.certificates import read_request

    try:
        pem = base64.b64decode(csr.spec.request, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return read_request(pem)
