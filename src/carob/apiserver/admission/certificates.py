"""CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest: who may approve, sign
and attest for which signer.

Source: kubernetes `plugin/pkg/admission/certificates/{approval,signing,subjectrestriction,ctbattest}`.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from carob.api.x509 import request_subject
from carob.apiserver.admission.refusals import creates, refused
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.authz.questions import Question
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Attributes

REQUESTS = row("certificates.k8s.io", "v1", "certificatesigningrequests")
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
_SUPERUSERS = "system:masters"


class CertificateRequests:
    """The three rules, which upstream keeps in three plugins."""

    name = "CertificateApproval"
    phases = ("validate",)
    handles = frozenset((("certificates.k8s.io", "certificatesigningrequests"),))

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def admit(self, attributes: Attributes) -> None:
        """Nothing: the final object is judged."""

    def validate(self, attributes: Attributes) -> None:
        """Refuse an approval or a signature by who may not, and a request for a superuser's certificate."""
        if attributes.resource.plural != REQUESTS.plural or attributes.resource.group != REQUESTS.group:
            return
        if creates(attributes, REQUESTS):
            self._check_subject(attributes)
        elif attributes.operation is not Operation.UPDATE:
            return
        elif attributes.subresource == "approval":
            self._require(attributes, "approve")
        elif attributes.subresource == "status" and _signs(attributes):
            self._require(attributes, "sign")

    def _require(self, attributes: Attributes, verb: str) -> None:
        signer = attributes.old.spec.signer_name
        if _may(self._authorizer, attributes, verb, signer):
            return
        raise refused(attributes, f'user not permitted to {verb} requests with signerName "{signer}"')

    @staticmethod
    def _check_subject(attributes: Attributes) -> None:
        spec = attributes.obj.spec
        if spec.signer_name != _CLIENT_SIGNER:
            return
        try:
            _, organizations = request_subject(_der(spec.request))
        except ValueError:
            return  # validation has said it
        if _SUPERUSERS in organizations:
            raise refused(attributes, f"use of {_CLIENT_SIGNER} signer with {_SUPERUSERS} group is not allowed")


class TrustBundleAttest:
    """Who says what a signer's authorities are must be allowed to `attest` for it."""

    name = "ClusterTrustBundleAttest"
    phases = ("validate",)
    handles = frozenset((("certificates.k8s.io", "clustertrustbundles"),))

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def admit(self, attributes: Attributes) -> None:
        """Nothing: the final object is judged."""

    def validate(self, attributes: Attributes) -> None:
        """Refuse a bundle for a signer that the user may not attest for."""
        if (attributes.resource.group, attributes.resource.plural) not in self.handles:
            return
        if attributes.operation not in (Operation.CREATE, Operation.UPDATE):
            return
        signer = attributes.obj.spec.signer_name
        if not signer or _only_for_the_collector(attributes):
            return
        if not _may(self._authorizer, attributes, "attest", signer):
            raise refused(attributes, f'user not permitted to attest for signerName "{signer}"')


def _may(authorizer: Authorizer, attributes: Attributes, verb: str, signer: str) -> bool:
    """For the signer itself, or for every signer of its domain."""
    names = (signer, f"{signer.partition('/')[0]}/*")
    questions = (Question(verb, REQUESTS.group, "signers", "", "", name) for name in names)
    return any(authorizer.allows(attributes.user, asked) for asked in questions)


def _only_for_the_collector(attributes: Attributes) -> bool:
    """Whether an update changes nothing but owners and finalizers."""
    if attributes.operation is not Operation.UPDATE:
        return False
    new, old = attributes.obj, attributes.old
    settled = {
        "owner_references": [],
        "finalizers": [],
        "resource_version": "",
        "managed_fields": old.metadata.managed_fields,
    }
    return bool(
        new.spec == old.spec
        and msgspec.structs.replace(new.metadata, **settled) == msgspec.structs.replace(old.metadata, **settled)
    )


def _signs(attributes: Attributes) -> bool:
    old, new = attributes.old.status, attributes.obj.status
    failed = [[c for c in status.conditions if c.type == "Failed"] for status in (old, new)]
    return bool(old.certificate != new.certificate) or failed[0] != failed[1]


def _der(request: str) -> bytes:
    """The request inside base64 inside PEM inside base64. Raises: ValueError."""
    try:
        parts = base64.b64decode(request).split(b"-----")
        return base64.b64decode(b"".join(parts[2].split()))
    except (binascii.Error, IndexError) as error:
        raise ValueError("not a certificate request") from error
