"""Container Device Interface: what a device's vendor says a container needs that gets it, and how that is put in.

Reads the machine's spec files, when a container names such devices; `put_in` is pure.
Source: the CDI specification 0.8 (cncf-tags/container-device-interface), `pkg/cdi` for precedence and order.
Differs: Intel RDT and network devices are passed over.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from carob.base.log import get_logger, pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""The later one wins."""
MAX_FILES = 1000
MAX_FILE_BYTES = 1 << 20
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
Tree = dict[str, Any]

_log = get_logger("runtime.cdi")


class Unresolvable(Exception):
    """The words are upstream's."""


class _Spec(Struct):
    """One file. `priority` is its folder's."""

    path: str
    priority: int
    edits: Tree
    devices: dict[str, Tree] = field(default_factory=dict)


def edits_for(names: Sequence[str], folders: Sequence[str] = FOLDERS) -> list[Tree]:
    """The edits of devices, `vendor.com/class=name`, in order; what a file says for all of its devices comes once.

    Raises: Unresolvable for a device that no file, or more than one of a folder, describes.
    """
    known: dict[str, _Spec] = {}
    doubtful: set[str] = set()
    for spec in _specs(folders):
        for name in spec.devices:
            before = known.get(name)
            if before is not None and before.priority == spec.priority:
                doubtful.add(name)
                continue
            doubtful.discard(name)
            known[name] = spec
    missing = [name for name in names if name not in known or name in doubtful]
    if missing:
        raise Unresolvable(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}")
    found: list[Tree] = []
    seen: set[str] = set()
    for name in names:
        spec = known[name]
        if spec.path not in seen:
            seen.add(spec.path)
            found.append(spec.edits)
        found.append(spec.devices[name])
    return found


def _specs(folders: Sequence[str]) -> Iterable[_Spec]:
    for priority, folder in enumerate(folders):
        try:
            names = sorted(os.listdir(folder))[:MAX_FILES]
        except OSError:
            continue
        for name in names:
            if not name.endswith((".json", ".yaml")):
                continue
            path = f"{folder}/{name}"
            try:
                yield _read(path, priority)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                # one vendor's broken file must not take the others' devices away
                _log.warning("cannot read CDI spec %s", pairs(path=path, error=error))


def _read(path: str, priority: int) -> _Spec:
    with open(path, "rb") as stream:
        data = stream.read(MAX_FILE_BYTES)
    if path.endswith(".json"):
        tree: Tree = msgspec.json.decode(data, type=dict)
    else:
        import yaml

        tree = yaml.safe_load(data)
    kind = tree["kind"]
    if not isinstance(kind, str) or "/" not in kind:
        raise ValueError(f"invalid kind {kind!r}")
    spec = _Spec(path, priority, tree.get("containerEdits") or {})
    for device in tree.get("devices") or ():
        spec.devices[f"{kind}={device['name']}"] = device.get("containerEdits") or {}
    return spec


def put_in(spec: Tree, edits: Sequence[Tree]) -> None:
    """Change a config.json's tree as the edits say. Raises: OSError for a device node that is not there."""
    for edit in edits:
        _environment(spec["process"], edit.get("env") or ())
        for node in edit.get("deviceNodes") or ():
            _device(spec, node)
        for mount in edit.get("mounts") or ():
            _mount(spec, mount)
        for hook in edit.get("hooks") or ():
            _hook(spec, hook)
        groups = spec["process"]["user"].setdefault("additionalGids", [])
        groups += [gid for gid in edit.get("additionalGids") or () if gid and gid not in groups]


def _environment(process: Tree, lines: Iterable[str]) -> None:
    for line in lines:
        name = line.partition("=")[0] + "="
        process["env"] = [one for one in process["env"] if not one.startswith(name)] + [line]


def _device(spec: Tree, node: Tree) -> None:
    path, source = node["path"], node.get("hostPath") or node["path"]
    kind, major, minor = node.get("type") or "", node.get("major") or 0, node.get("minor") or 0
    if not kind or (kind != "p" and not major):
        status = os.stat(source)
        kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "")
        if not kind:
            raise OSError(f"{source} is not a device node")
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    user = spec["process"]["user"]
    made: Tree = {"path": path, "type": kind, "major": major, "minor": minor}
    if node.get("fileMode") is not None:
        made["fileMode"] = node["fileMode"]
    # a device belongs to whom the container runs as, unless its vendor says otherwise
    made["uid"] = node["uid"] if node.get("uid") is not None else user.get("uid", 0)
    made["gid"] = node["gid"] if node.get("gid") is not None else user.get("gid", 0)
    linux = spec["linux"]
    linux["devices"] = [one for one in linux.get("devices") or () if one["path"] != path] + [made]
    rules = linux["resources"].get("devices")
    if rules is not None and kind in ("b", "c"):
        access = node.get("permissions") or "rwm"
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": access})


def _mount(spec: Tree, mount: Tree) -> None:
    place = mount["containerPath"]
    options = list(mount.get("options") or ())
    made = {
        "destination": place,
        "type": mount.get("type") or "bind",
        "source": mount["hostPath"],
        "options": options,
    }
    if made["type"] == "bind" and not {"bind", "rbind"} & set(options):
        options.insert(0, "bind")
    spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != place] + [made]


def _hook(spec: Tree, hook: Tree) -> None:
    name = hook["hookName"]
    if name not in HOOKS:
        raise OSError(f"invalid hook name {name!r}")
    made = {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key)}
    spec.setdefault("hooks", {}).setdefault(name, []).append(made)
