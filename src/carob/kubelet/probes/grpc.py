"""gRPC health probes, where grpcio is installed (the `etcd` extra brings it).

Source: kubelet `pkg/probe/grpc`; the message of grpc.health.v1 is two fields, written here by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.kubelet.probes.check import Outcome

if TYPE_CHECKING:
    from carob.api.types import core_v1

SERVING = b"\x08\x01"


async def grpc_check(host: str, action: core_v1.GRPCAction, seconds: float) -> tuple[Outcome, str]:
    """Ask `grpc.health.v1.Health/Check`."""
    try:
        import grpc  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return Outcome.ERROR, "gRPC probes need the Python package grpcio on the node"
    address = f"{host}:{action.port}"
    service = (action.service or "").encode()
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check", lambda b: b, lambda b: b)
        try:
            answer = await call(request, timeout=seconds)
        except grpc.RpcError as error:
            text = f"error: health rpc probe failed: {error.details() if hasattr(error, 'details') else error}"
            return Outcome.FAILURE, text
    if bytes(answer) == SERVING:
        return Outcome.SUCCESS, "service healthy"
    return Outcome.FAILURE, "service unhealthy (responded with NOT_SERVING)"
