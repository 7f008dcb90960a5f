"""What kubelets and drivers of devices say to each other. The numbers are the wire's.

Source: kubernetes/kubelet `pkg/apis/dra/v1/api.proto`, `pkg/apis/pluginregistration/v1/api.proto`, v1.36. Maps from
strings to messages are lists of entries on the wire, and here.
"""

from __future__ import annotations

from typing import Annotated

from carob.runtime.cri.codec import Message

DRA_PLUGIN = "DRAPlugin"
SERVICES = {
    "v1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin",
    "v1beta1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin",
}
"""gRPC services by the versions that drivers announce, the best first."""
REGISTRATION = "pluginregistration.Registration"


class InfoRequest(Message):
    pass


class PluginInfo(Message):
    type: Annotated[str, 1] = ""
    name: Annotated[str, 2] = ""
    endpoint: Annotated[str, 3] = ""
    supported_versions: Annotated[list[str], 4] = []


class RegistrationStatus(Message):
    plugin_registered: Annotated[bool, 1] = False
    error: Annotated[str, 2] = ""


class RegistrationStatusResponse(Message):
    pass


class Claim(Message):
    namespace: Annotated[str, 1] = ""
    uid: Annotated[str, 2] = ""
    name: Annotated[str, 3] = ""


class Claims(Message):
    """Both requests: NodePrepareResourcesRequest and NodeUnprepareResourcesRequest."""

    claims: Annotated[list[Claim], 1] = []


class Device(Message):
    request_names: Annotated[list[str], 1] = []
    pool_name: Annotated[str, 2] = ""
    device_name: Annotated[str, 3] = ""
    cdi_device_ids: Annotated[list[str], 4] = []


class Prepared(Message):
    devices: Annotated[list[Device], 1] = []
    error: Annotated[str, 2] = ""


class PreparedEntry(Message):
    """An entry of `NodePrepareResourcesResponse.claims`, by the claim's uid."""

    key: Annotated[str, 1] = ""
    value: Annotated[Prepared | None, 2] = None


class PrepareResponse(Message):
    claims: Annotated[list[PreparedEntry], 1] = []


class Unprepared(Message):
    error: Annotated[str, 1] = ""


class UnpreparedEntry(Message):
    key: Annotated[str, 1] = ""
    value: Annotated[Unprepared | None, 2] = None


class UnprepareResponse(Message):
    claims: Annotated[list[UnpreparedEntry], 1] = []
