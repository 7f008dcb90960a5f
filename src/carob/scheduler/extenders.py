"""Extenders: services of the user's that the scheduler asks over HTTP whom they reject, prefer, evict, or bind.

Touches: sockets, through `transport`; the API for the whole objects that an extender wants to see. Loaded only where a
KubeSchedulerConfiguration names extenders.
Source: kube-scheduler `extender.go`, `kube-scheduler/extender/v1` (its fields have Go's own names, read in any case).
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from carob.api import codec
from carob.api.durations import go_duration
from carob.api.types import core_v1
from carob.base.log import get_logger
from carob.client.informer import Informer
from carob.scheduler.profiles import LONGEST_EXTENDER_WAIT_SECONDS
from carob.scheduler.room import Nomination, nomination
from carob.scheduler.storage import BindingFailed
from carob.scheduler.verdict import EXTENDER, Rejection
from carob.transport.client import SocketTransport
from carob.transport.http import Request
from carob.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.scheduler.config_types import ExtenderTree, TLSTree
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo
    from carob.scheduler.snapshot import Snapshot

MAX_PRIORITY = 10
_log = get_logger("extenders")


class ExtenderError(Exception):
    """An extender could not be asked, or said that it failed; its text is for the Pod's condition."""


class Extender:
    """One of them. Every call raises `ExtenderError` when there is no answer that makes sense."""

    def __init__(self, tree: ExtenderTree, timeout_seconds: float) -> None:
        self.name = tree.url_prefix
        self.ignorable = tree.ignorable
        self.weight = tree.weight
        self.sees_names = tree.node_cache_capable
        self.filters, self.prioritizes = bool(tree.filter_verb), bool(tree.prioritize_verb)
        self.preempts, self.binds = bool(tree.preempt_verb), bool(tree.bind_verb)
        self._tree = tree
        self._timeout_seconds = timeout_seconds or LONGEST_EXTENDER_WAIT_SECONDS
        self._managed = frozenset(one.name for one in tree.managed_resources or ())
        parts = urlsplit(tree.url_prefix)
        self._path = parts.path.rstrip("/")
        tls = tls_of(tree) if parts.scheme == "https" else None
        server_name = tree.tls_config.server_name if tree.tls_config is not None else ""
        self._transport = SocketTransport(
            f"{parts.scheme}://{parts.netloc}", tls=tls, server_name=server_name, max_connections=16
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._transport.close()

    def is_interested(self, pod: core_v1.Pod) -> bool:
        """Whether the Pod asks for a resource that the extender manages; it is asked of all if it manages none."""
        if not self._managed:
            return True
        return any(
            name in self._managed
            for container in (*pod.spec.containers, *pod.spec.init_containers)
            for name in (*container.resources.requests, *container.resources.limits)
        )

    async def filter(
        self, pod: core_v1.Pod, nodes: Sequence[NodeInfo], whole: Mapping[str, core_v1.Node]
    ) -> tuple[list[NodeInfo], dict[str, Rejection]]:
        """The nodes that are left, and why the others are not."""
        answer = await self._ask(self._tree.filter_verb, self._about(pod, nodes, whole))
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))
        names: list[str] | None = answer.get("nodenames") if self.sees_names else None
        if names is None:
            listed = answer.get("nodes")
            items = listed.get("items") if isinstance(listed, dict) else None
            try:
                names = [one["metadata"]["name"] for one in items or ()]
            except (TypeError, KeyError):
                raise self._senseless(self._tree.filter_verb) from None
        known = {node.name: node for node in nodes}
        strange = next((name for name in names if name not in known), None)
        if strange is not None:
            raise ExtenderError(
                f'extender "{self.name}" claims a filtered node "{strange}" which is not found in the input node list'
            )
        rejections = {
            name: Rejection(EXTENDER, (reason,), resolvable)
            for key, resolvable in (("failednodes", True), ("failedandunresolvablenodes", False))
            for name, reason in (answer.get(key) or {}).items()
        }
        left = set(names)
        for node in nodes:
            if node.name not in left and node.name not in rejections:
                rejections[node.name] = Rejection(EXTENDER, (), resolvable=True)
        return [node for node in nodes if node.name in left], rejections

    async def prioritize(
        self, pod: core_v1.Pod, nodes: Sequence[NodeInfo], whole: Mapping[str, core_v1.Node]
    ) -> dict[str, int]:
        """What each node is worth, weighted, on the scale of the other scores."""
        answer = await self._send(self._tree.prioritize_verb, self._about(pod, nodes, whole))
        scale = self.weight * 100 // MAX_PRIORITY
        try:
            return {one["host"]: int(one.get("score", 0)) * scale for one in map(_lowered, answer or ())}
        except (TypeError, KeyError, ValueError):
            raise self._senseless(self._tree.prioritize_verb) from None

    async def preempt(
        self, pod: core_v1.Pod, found: Sequence[Nomination], snapshot: Snapshot, victims: Mapping[str, core_v1.Pod]
    ) -> list[Nomination]:
        """Those ways to make room that are left, with the victims that the extender wants."""
        key = "NodeNameToMetaVictims" if self.sees_names else "NodeNameToVictims"

        def shown(victim: PodInfo) -> Any:
            return {"UID": victim.uid} if self.sees_names else codec.to_tree(victims[victim.key])

        listed = {
            one.node: {"Pods": [shown(victim) for victim in one.victims], "NumPDBViolations": one.violations}
            for one in found
        }
        other = "NodeNameToVictims" if self.sees_names else "NodeNameToMetaVictims"
        args = {"Pod": codec.to_tree(pod), key: listed, other: None}
        answer = await self._ask(self._tree.preempt_verb, args)
        left = []
        for name, chosen in (answer.get("nodenametometavictims") or {}).items():
            node = snapshot.get(name)
            if node is None:
                raise ExtenderError(f'nodeinfo not found for node name "{name}"')
            by_uid = {one.uid: one for one in node.pods.values()}
            picked = []
            for one in _lowered(chosen).get("pods") or ():
                uid = _lowered(one).get("uid", "")
                if uid not in by_uid:
                    raise ExtenderError(
                        f"extender: {self.name} claims to preempt pod (UID: {uid}) on node: {name}, but the pod is not "
                        "found on that node"
                    )
                picked.append(by_uid[uid])
            left.append(nomination(node, picked, int(_lowered(chosen).get("numpdbviolations") or 0)))
        return left

    async def has_bound(self, pod: PodInfo, node_name: str) -> bool:
        """Have the extender bind the Pod; False if it failed and may be ignored. Raises: BindingFailed."""
        try:
            await self._bind(pod, node_name)
        except ExtenderError as error:
            if self.ignorable:
                _log.warning("%s is ignored: %s", self.name, error)
                return False
            raise BindingFailed(str(error), "") from error
        return True

    async def _bind(self, pod: PodInfo, node_name: str) -> None:
        metadata = pod.view.metadata
        args = {
            "PodName": metadata.name,
            "PodNamespace": metadata.namespace,
            "PodUID": metadata.uid,
            "Node": node_name,
        }
        answer = await self._ask(self._tree.bind_verb, args)
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))

    def _about(self, pod: core_v1.Pod, nodes: Sequence[NodeInfo], whole: Mapping[str, core_v1.Node]) -> dict[str, Any]:
        if self.sees_names:
            return {"Pod": codec.to_tree(pod), "Nodes": None, "NodeNames": [node.name for node in nodes]}
        items = [codec.to_tree(whole[node.name]) for node in nodes if node.name in whole]
        listed = {"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": items}
        return {"Pod": codec.to_tree(pod), "Nodes": listed, "NodeNames": None}

    async def _ask(self, verb: str, args: Any) -> dict[str, Any]:
        """The object that it answers, its own keys in lower case."""
        answer = await self._send(verb, args)
        if answer is not None and not isinstance(answer, dict):
            raise self._senseless(verb)
        return _lowered(answer or {})

    def _senseless(self, verb: str) -> ExtenderError:
        return ExtenderError(f"{verb} of extender at URL {self._url(verb)} answered what makes no sense")

    def _url(self, verb: str) -> str:
        return f"{self.name.rstrip('/')}/{verb}"

    async def _send(self, verb: str, args: Any) -> Any:
        url = self._url(verb)
        request = Request(
            "POST",
            f"{self._path}/{verb}",
            headers={"content-type": "application/json", "accept": "application/json"},
            body=codec.encode(args),
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._transport.send(request)
        except TimeoutError:
            limit = go_duration(self._timeout_seconds)
            raise ExtenderError(f'Post "{url}": context deadline exceeded (no answer within {limit})') from None
        except OSError as error:
            raise ExtenderError(f'Post "{url}": {error}') from error
        if answer.status != 200:
            raise ExtenderError(f"failed {verb} with extender at URL {url}, code {answer.status}")
        try:
            return msgspec.json.decode(answer.body)
        except msgspec.DecodeError as error:
            raise ExtenderError(f"{verb} of extender at URL {url} answered no JSON: {error}") from error


def _lowered(tree: dict[str, Any]) -> dict[str, Any]:
    """Its own keys in lower case, as Go reads them in any case."""
    return {key.lower(): value for key, value in tree.items()}


def tls_of(tree: ExtenderTree) -> Any:
    """What it is spoken to with. Raises: OSError, ValueError for files and data that cannot be used."""
    found: TLSTree | None = tree.tls_config
    if found is None:
        return client_context(insecure=tree.enable_https)
    has_authority = bool(found.ca_file or found.ca_data)
    return client_context(
        ca_file="" if found.ca_data else found.ca_file,
        ca_data=base64.b64decode(found.ca_data).decode() if found.ca_data else "",
        certificate_file="" if found.cert_data else found.cert_file,
        key_file="" if found.cert_data else found.key_file,
        certificate_data=base64.b64decode(found.cert_data) if found.cert_data else b"",
        key_data=base64.b64decode(found.key_data) if found.key_data else b"",
        # without an authority nobody is checked, as upstream has it where HTTPS is asked for
        insecure=found.insecure or (tree.enable_https and not has_authority),
    )


class Extenders:
    """All of them, in order, and the whole objects that they want to see."""

    def __init__(self, trees: Iterable[tuple[ExtenderTree, float]], client: Client, clock: Clock) -> None:
        self._all = [Extender(tree, timeout_seconds) for tree, timeout_seconds in trees]
        self._client = client
        self.nodes: Informer[core_v1.Node] | None = None
        if any(not one.sees_names and (one.filters or one.prioritizes) for one in self._all):
            self.nodes = Informer(client, core_v1.Node, clock, name="extenders' nodes")

    def __iter__(self) -> Iterator[Extender]:
        return iter(self._all)

    async def close(self) -> None:
        """Give all connections back."""
        for one in self._all:
            await one.close()

    async def interested(self, pod: PodInfo) -> tuple[list[Extender], core_v1.Pod]:
        """Who wants to hear of the Pod, and the whole of it. Raises: ApiError when it is gone."""
        metadata = pod.view.metadata
        whole = await self._client.get(core_v1.Pod, metadata.name, metadata.namespace)
        return [one for one in self._all if one.is_interested(whole)], whole

    async def filter(
        self, asked: Sequence[Extender], pod: core_v1.Pod, nodes: list[NodeInfo]
    ) -> tuple[list[NodeInfo], dict[str, Rejection]]:
        """What all of them leave, one after another. Raises: ExtenderError of one that may not be ignored."""
        rejections: dict[str, Rejection] = {}
        for one in asked:
            if not nodes:
                break
            if not one.filters:
                continue
            try:
                nodes, more = await one.filter(pod, nodes, self._whole(nodes))
            except ExtenderError as error:
                if not one.ignorable:
                    raise
                _log.warning("%s is ignored: %s", one.name, error)
                continue
            rejections |= more
        return nodes, rejections

    async def prioritize(
        self, asked: Sequence[Extender], pod: core_v1.Pod, nodes: Sequence[NodeInfo]
    ) -> dict[str, int]:
        """The sum of what they say; one that fails says nothing."""
        askable = [one for one in asked if one.prioritizes]
        whole = self._whole(nodes)
        answers = await asyncio.gather(*(one.prioritize(pod, nodes, whole) for one in askable), return_exceptions=True)
        sums: dict[str, int] = {}
        for one, answer in zip(askable, answers, strict=True):
            if isinstance(answer, ExtenderError):
                _log.warning("no score given by extender %s: %s", one.name, answer)
                continue
            if isinstance(answer, BaseException):
                raise answer
            for name, value in answer.items():
                sums[name] = sums.get(name, 0) + value
        return sums

    async def preempt(
        self, asked: Sequence[Extender], pod: core_v1.Pod, found: list[Nomination], snapshot: Snapshot
    ) -> list[Nomination]:
        """The ways to make room that all of them leave. Raises: ExtenderError of one that may not be ignored."""
        for one in asked:
            if not found or not one.preempts:
                continue
            victims = {} if one.sees_names else await self._pods(found)
            try:
                found = await one.preempt(pod, found, snapshot, victims)
            except ExtenderError as error:
                if not one.ignorable:
                    raise
                _log.warning("%s is ignored: %s", one.name, error)
        return found

    async def _pods(self, found: Iterable[Nomination]) -> dict[str, core_v1.Pod]:
        wanted = {victim.key: victim.view.metadata for one in found for victim in one.victims}
        got = await asyncio.gather(*(self._client.get(core_v1.Pod, one.name, one.namespace) for one in wanted.values()))
        return dict(zip(wanted, got, strict=True))

    def _whole(self, nodes: Iterable[NodeInfo]) -> dict[str, core_v1.Node]:
        if self.nodes is None:
            return {}
        known = ((node.name, self.nodes.get(node.name)) for node in nodes)
        return {name: one for name, one in known if one is not None}
