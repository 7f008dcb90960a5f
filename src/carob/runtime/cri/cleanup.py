"""Take back what a node has made on somebody else's runtime: every sandbox with our label, and so its containers."""

from __future__ import annotations

import asyncio

from carob.runtime.cri import orders
from carob.runtime.cri import sandbox_messages as wire
from carob.runtime.cri.channel import Channel
from carob.runtime.types import NotFound, RuntimeFailure

ANSWER_SECONDS = 5.0
SANDBOX_SECONDS = 60.0


def remove_everything(endpoint: str, owner: str) -> list[str]:
    """What could not be removed, a line each. Blocking; idempotent. The agent must have ended."""
    return asyncio.run(_remove_everything(endpoint, owner))


async def _remove_everything(endpoint: str, owner: str) -> list[str]:
    channel = Channel(endpoint)
    wanted = wire.PodSandboxFilter(label_selector={orders.OWNER: owner})
    try:
        found = await channel.runtime(
            "ListPodSandbox", wire.ListPodSandboxRequest(filter=wanted), wire.PodSandboxes, ANSWER_SECONDS
        )
        ids = [item.id for item in found.items]
        left = await asyncio.gather(*(_remove(channel, sandbox_id) for sandbox_id in ids))
        return [line for line in left if line]
    except TimeoutError:
        return [f"what the cluster has on the container runtime at {endpoint}: it does not answer"]
    except RuntimeFailure as error:
        return [f"what the cluster has on the container runtime at {endpoint}: {error}"]
    finally:
        await channel.close()


async def _remove(channel: Channel, sandbox_id: str) -> str:
    try:
        for rpc in ("StopPodSandbox", "RemovePodSandbox"):
            await channel.runtime(rpc, wire.PodSandboxId(pod_sandbox_id=sandbox_id), wire.Empty, SANDBOX_SECONDS)
    except NotFound:
        return ""
    except (RuntimeFailure, TimeoutError) as error:
        return f"sandbox {sandbox_id}: {error}"
    return ""
