"""CNI network configurations: which file of a folder counts, and what each plugin is told.

Pure but for reading the folder. Source: CNI specification 1.1 (sections 1 and 2); file order as containerd and CRI-O.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from carob.network.bandwidth import EGRESS, INGRESS, bucket_of
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.network.pods import Request

ENDINGS = (".conf", ".conflist", ".json")
DEFAULT_VERSION = "0.1.0"
USE_POD_RANGE = "usePodCidr"
Tree = dict[str, Any]


class CniNetworkConfig(Struct, frozen=True):
    """One network: its plugins in the order of their work."""

    name: str
    version: str = DEFAULT_VERSION
    plugins: tuple[Tree, ...] = field(default_factory=tuple)

    def can(self, capability: str) -> bool:
        """Whether a plugin takes this from the runtime (`portMappings`, `bandwidth`)."""
        return any(plugin.get("capabilities", {}).get(capability) for plugin in self.plugins)

    def request(self, plugin: Tree, runtime_config: Tree, previous: Tree | None) -> bytes:
        """What a plugin gets on its standard input."""
        asked = {key: value for key, value in plugin.items() if key != "capabilities"}
        asked |= {"cniVersion": self.version, "name": self.name}
        wanted = {name for name, yes in plugin.get("capabilities", {}).items() if yes}
        told = {key: value for key, value in runtime_config.items() if key in wanted}
        if told:
            asked["runtimeConfig"] = told
        if previous is not None:
            asked["prevResult"] = previous
        return orjson.dumps(asked)

    def to_tree(self) -> Tree:
        """As a list configuration."""
        return {"cniVersion": self.version, "name": self.name, "plugins": list(self.plugins)}


def load(conf_dir: str, pod_range: str) -> CniNetworkConfig:
    """The first usable configuration of a folder, by file name; `usePodCidr` in it is the node's range.

    Raises: NetworkFailure saying what is wrong.
    """
    try:
        files = sorted(path for path in Path(conf_dir).iterdir() if path.suffix in ENDINGS)
    except OSError as error:
        raise NetworkFailure(f"cni config load failed: {error}") from None
    problems = []
    for path in files:
        try:
            return parse(_filled_in(orjson.loads(path.read_bytes()), pod_range))
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
    raise NetworkFailure("; ".join(problems) or f"no network config found in {conf_dir}: cni plugin not initialized")


def _filled_in(tree: Any, pod_range: str) -> Any:
    """With the node's range wherever a subnet is `usePodCidr`, the word that Calico's configurations have for it."""
    if isinstance(tree, list):
        return [_filled_in(one, pod_range) for one in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: pod_range if (key, value) == ("subnet", USE_POD_RANGE) else _filled_in(value, pod_range)
        for key, value in tree.items()
    }


def parse(tree: Any) -> CniNetworkConfig:
    """A configuration, of one plugin or a list. Raises: ValueError."""
    if not isinstance(tree, dict):
        raise ValueError("is no JSON object")
    name = tree.get("name")
    if not name or not isinstance(name, str):
        raise ValueError("has no name")
    plugins = tree.get("plugins", [tree] if "type" in tree else None)
    if not isinstance(plugins, list) or not plugins:
        raise ValueError("no plugins in network list")
    for plugin in plugins:
        if not isinstance(plugin, dict) or not isinstance(plugin.get("type"), str):
            raise ValueError("a plugin has no type")
        if not isinstance(plugin.get("capabilities", {}), dict):
            raise ValueError("a plugin's capabilities are no object")
    return CniNetworkConfig(name, str(tree.get("cniVersion") or DEFAULT_VERSION), tuple(plugins))


def runtime_config(request: Request) -> Tree:
    """What plugins may want to know of a Pod, by capability. Raises: NetworkFailure for what is no bandwidth."""
    found: Tree = {}
    ports = [mapping for mapping in request.port_mappings if mapping.host_port]
    if ports:
        found["portMappings"] = [
            {
                "hostPort": mapping.host_port,
                "containerPort": mapping.container_port,
                "protocol": (mapping.protocol or "TCP").lower(),
                "hostIP": mapping.host_ip,
            }
            for mapping in ports
        ]
    limits: Tree = {}
    for annotation, word in ((INGRESS, "ingress"), (EGRESS, "egress")):
        bucket = bucket_of(request.annotations, annotation)
        if bucket is not None:
            # bits a second, and bits
            limits |= {f"{word}Rate": 8 * bucket.rate_bytes, f"{word}Burst": 8 * bucket.burst_bytes}
    if limits:
        found["bandwidth"] = limits
    return found


def addresses_of(result: Tree) -> list[str]:
    """The addresses that a result gives, IPv4 first. Source: sections "ADD Success" of the versions."""
    texts = [one.get("address", "") for one in result.get("ips", ()) if isinstance(one, dict)]
    texts += [result[old].get("ip", "") for old in ("ip4", "ip6") if isinstance(result.get(old), dict)]
    plain = [text.partition("/")[0] for text in texts if text]
    return sorted(plain, key=lambda text: ":" in text)


def shared_interfaces(result: Tree) -> list[str]:
    """Names of the interfaces that a result has outside of the Pod."""
    found: Sequence[Any] = result.get("interfaces", ())
    return [one["name"] for one in found if isinstance(one, dict) and one.get("name") and not one.get("sandbox")]
