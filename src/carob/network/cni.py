"""Pod addresses by CNI plugins (`/etc/cni/net.d`) instead of carob's own routed veths.

Plugins run in the node's network namespace, one after the other as the configuration lists them. What a sandbox was
given is written down before its plugins are asked, so that a killed agent, or `carob down`, takes it back as well. A
bridge that a plugin made goes with the last of them.

Services, DNS, host ports (where no plugin takes them) and policies stay carob's; a policy meets what is routed through
the node, not what two Pods say to each other over one bridge.

May touch: its folder, the plugins, host ports. Blocking. Source: CNI specification 1.1.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from carob.base.log import get_logger
from carob.host import netlink
from carob.network import cni_config
from carob.network.addresses import HostPort, Lease
from carob.network.cni_config import CniNetworkConfig
from carob.network.host_ports import asked_for
from carob.network.layout import NetworkFailure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.host.plugins import Answer, PluginRunner
    from carob.network.host_ports import HostPorts
    from carob.network.layout import CniPlaces
    from carob.network.pods import Request

POD_INTERFACE = "eth0"
MADE = ".made"
Tree = dict[str, Any]
_log = get_logger("cni")


class CniPodNetwork:
    """Attaches sandboxes by plugins; the same verbs as `PodNetwork`. `folder` keeps a file a sandbox."""

    def __init__(
        self,
        places: CniPlaces,
        pod_range: str,
        folder: Path,
        node: netlink.Netlink,
        host_ports: HostPorts,
        runner: PluginRunner,
    ) -> None:
        self._places = places
        self._pod_range = pod_range
        self._folder = folder
        self._node = node
        self._host_ports = host_ports
        self._runner = runner
        folder.mkdir(parents=True, exist_ok=True)

    def attach(self, request: Request) -> list[str]:
        """Have the sandbox whose namespace `request.netns_path` is get its interface; its addresses, IPv4 first.

        Idempotent per sandbox id. Raises: NetworkFailure; then nothing is left.
        """
        kept = _read(self._file(request.sandbox_id))
        if kept is not None and kept["addresses"]:
            return list(kept["addresses"])
        config = cni_config.load(self._places.conf_dir, self._pod_range)
        record: Tree = {
            "config": config.to_tree(),
            "environment": _environment(request, self._places),
            "runtimeConfig": cni_config.runtime_config(request),
            "result": None,
            "addresses": [],
            "hostPorts": [] if config.can("portMappings") else _host_ports(request),
        }
        self._write(request.sandbox_id, record)
        try:
            before = {link.name for link in self._node.links()}
            for plugin in config.plugins:
                answer = self._ask("ADD", config, plugin, record)
                record["result"] = _result(plugin, answer)
            self._remember_made(before, record["result"] or {})
            record["addresses"] = cni_config.addresses_of(record["result"] or {})
            if not record["addresses"]:
                raise NetworkFailure(f'network "{config.name}" gave no address')
            self._write(request.sandbox_id, record)
            self._host_ports.open(_lease(request.sandbox_id, record))
        except BaseException as error:
            self._undo(request.sandbox_id, record)
            if isinstance(error, (OSError, TimeoutError)):
                raise NetworkFailure(f"sandbox {request.sandbox_id}: {error}") from error
            raise
        return list(record["addresses"])

    def detach(self, request: Request) -> None:
        """Have the plugins take back what they gave. Idempotent. Raises: NetworkFailure; to be tried again."""
        record = _read(self._file(request.sandbox_id))
        if record is None:
            return
        self._host_ports.close(_lease(request.sandbox_id, record))
        take_back(self._places, self._runner, record)
        self._file(request.sandbox_id).unlink(missing_ok=True)

    def status(self) -> str:
        """Empty when Pods can be attached, else why not."""
        try:
            config = cni_config.load(self._places.conf_dir, self._pod_range)
            for plugin in config.plugins:
                self._places.program(plugin["type"])
        except NetworkFailure as error:
            return str(error)
        return ""

    def leases(self) -> list[Lease]:
        """Which sandboxes hold addresses."""
        found = ((path.name, _read(path)) for path in self._folder.iterdir() if not path.name.startswith("."))
        return [_lease(name, record) for name, record in found if record is not None and record["addresses"]]

    def _file(self, sandbox_id: str) -> Path:
        return self._folder / sandbox_id

    def _write(self, sandbox_id: str, record: Tree) -> None:
        temporary = self._folder / f".{sandbox_id}"
        temporary.write_bytes(orjson.dumps(record))
        os.replace(temporary, self._file(sandbox_id))

    def _ask(self, command: str, config: CniNetworkConfig, plugin: Tree, record: Tree) -> Answer:
        return _ask(self._places, self._runner, command, config, plugin, record)

    def _remember_made(self, before: set[str], result: Tree) -> None:
        """Write down which bridges were not there before."""
        named = set(cni_config.shared_interfaces(result)) - before
        made = [link.name for link in self._node.links() if link.name in named and link.kind == "bridge"]
        if made:
            with (self._folder / MADE).open("a") as file:
                file.writelines(f"{name}\n" for name in made)

    def _undo(self, sandbox_id: str, record: Tree) -> None:
        try:
            self._host_ports.close(_lease(sandbox_id, record))
            take_back(self._places, self._runner, record)
            self._file(sandbox_id).unlink(missing_ok=True)
        except (OSError, NetworkFailure) as error:
            _log.error("clean-up of sandbox %s failed: %s", sandbox_id, error)


def take_back(places: CniPlaces, runner: PluginRunner, record: Tree) -> None:
    """Have every plugin of a record delete, the last one first. Raises: NetworkFailure of the first that could not."""
    config = cni_config.parse(record["config"])
    environment = record["environment"]
    # it may be gone already: plugins then free what they know without it
    if not Path(environment["CNI_NETNS"]).exists():
        record = record | {"environment": environment | {"CNI_NETNS": ""}}
    for plugin in reversed(config.plugins):
        try:
            answer = _ask(places, runner, "DEL", config, plugin, record)
        except (OSError, TimeoutError) as error:
            raise NetworkFailure(f"plugin {plugin['type']}: {error}") from error
        if answer.code:
            raise NetworkFailure(f"plugin {plugin['type']}: {_why(answer)}")


def remove_everything(places: CniPlaces, folder: Path, runner: PluginRunner, node: netlink.Netlink) -> Iterable[str]:
    """Take back what a cluster's sandboxes still have, and the bridges made for them; what could not be, a line each."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        record = _read(path) if not path.name.startswith(".") else None
        if record is not None:
            try:
                take_back(places, runner, record)
            except NetworkFailure as error:
                yield str(error)
    try:
        made = set((folder / MADE).read_text().split())
    except FileNotFoundError:
        made = set()
    for link in node.links():
        if link.name in made and link.kind == "bridge":
            try:
                node.send(netlink.delete_link(link.index))
            except OSError as error:
                yield str(error)


def _environment(request: Request, places: CniPlaces) -> dict[str, str]:
    pod = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": request.namespace,
        "K8S_POD_NAME": request.name,
        "K8S_POD_INFRA_CONTAINER_ID": request.sandbox_id,
        "K8S_POD_UID": request.uid,
    }
    return {
        "CNI_CONTAINERID": request.sandbox_id,
        "CNI_NETNS": request.netns_path,
        "CNI_IFNAME": POD_INTERFACE,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in pod.items()),
        "CNI_PATH": os.pathsep.join(places.bin_dirs),
    }


def _ask(
    places: CniPlaces, runner: PluginRunner, command: str, config: CniNetworkConfig, plugin: Tree, record: Tree
) -> Answer:
    asked = config.request(plugin, record["runtimeConfig"], record["result"])
    environment = record["environment"] | {"CNI_COMMAND": command}
    return runner.run(places.program(plugin["type"]), environment, asked.decode())


def _result(plugin: Tree, answer: Answer) -> Tree:
    if answer.code:
        raise NetworkFailure(f"plugin {plugin['type']}: {_why(answer)}")
    try:
        found = orjson.loads(answer.output)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NetworkFailure(f"plugin {plugin['type']} answered no JSON object")
    return found


def _why(answer: Answer) -> str:
    """The plugin's own words. Source: section "Error" of the specification."""
    try:
        told = orjson.loads(answer.output)
        text = ": ".join(filter(None, (told.get("msg"), told.get("details"))))
    except (ValueError, AttributeError):
        text = ""
    return text or answer.errors.strip() or f"ended with {answer.code}"


def _host_ports(request: Request) -> list[Tree]:
    return [
        {
            "protocol": port.protocol,
            "host_port": port.host_port,
            "container_port": port.container_port,
            "host_ip": port.host_ip,
        }
        for port in asked_for(request.port_mappings)
    ]


def _lease(sandbox_id: str, record: Tree) -> Lease:
    address = next((one for one in record["addresses"] if ":" not in one), "")
    return Lease(sandbox_id, address, tuple(HostPort(**port) for port in record["hostPorts"] if address))


def _read(path: Path) -> Tree | None:
    try:
        found: Tree = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.error("dropped unreadable record %s: %s", path, error)
        path.unlink(missing_ok=True)
        return None
    return found
