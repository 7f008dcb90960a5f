"""What a `PodSecurityConfiguration` says: the levels of namespaces without labels, and who is exempt. Plain values.

Source: kubernetes `staging/…/pod-security-admission/admission/api`; an AdmissionConfiguration (apiserver.config.k8s.io/v1)
holds it, or names the file that does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"latest|v1\.(0|[1-9]\d*)")
_MODES = ("enforce", "audit", "warn")
_CONFIGURATION = re.compile(r"pod-security\.admission\.config\.k8s\.io/(v1|v1beta1|v1alpha1)")
_ADMISSION = re.compile(r"apiserver\.config\.k8s\.io/(v1|v1alpha1)")


class PodSecurityError(ValueError):
    """What is wrong with a configuration: the field's path and why."""


class PodSecurityRules(msgspec.Struct, frozen=True):
    """Levels with their versions, and exemptions."""

    enforce: tuple[str, str] = ("privileged", "latest")
    warn: tuple[str, str] = ("privileged", "latest")
    exempt_usernames: tuple[str, ...] = ()
    exempt_namespaces: tuple[str, ...] = ()
    exempt_runtime_classes: tuple[str, ...] = ()
    audit: tuple[str, str] = ("privileged", "latest")


USUAL = PodSecurityRules()


def load(file: Path) -> PodSecurityRules:
    """The rules in a file that holds an AdmissionConfiguration. Raises: OSError, PodSecurityError."""
    tree = _read(file)
    if tree.get("kind") != "AdmissionConfiguration" or not _ADMISSION.fullmatch(str(tree.get("apiVersion"))):
        raise PodSecurityError("this is no AdmissionConfiguration of apiserver.config.k8s.io/v1")
    for number, plugin in enumerate(_list(tree, "plugins", "plugins")):
        name = plugin.get("name") if isinstance(plugin, dict) else None
        if name != "PodSecurity":
            raise PodSecurityError(
                f"plugins[{number}].name: Unsupported value: {name!r}: supported values: PodSecurity"
            )
        if plugin.get("path"):
            return _rules(_read(file.parent / str(plugin["path"])))
        return _rules(_mapping(plugin, "configuration", f"plugins[{number}].configuration"))
    return USUAL


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PodSecurityError(f"{file}: no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise PodSecurityError(f"{file}: this is no configuration")
    return tree


def _mapping(tree: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    value = tree.get(name) or {}
    if not isinstance(value, dict):
        raise PodSecurityError(f"{path}: must be an object")
    return value


def _list(tree: dict[str, Any], name: str, path: str) -> list[Any]:
    value = tree.get(name) or []
    if not isinstance(value, list):
        raise PodSecurityError(f"{path}: must be a list")
    return value


def _rules(tree: dict[str, Any]) -> PodSecurityRules:
    if tree.get("kind") != "PodSecurityConfiguration" or not _CONFIGURATION.fullmatch(str(tree.get("apiVersion"))):
        raise PodSecurityError("this is no PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1")
    defaults, exemptions = _mapping(tree, "defaults", "defaults"), _mapping(tree, "exemptions", "exemptions")
    for name in defaults:
        if name.removesuffix("-version") not in _MODES:
            raise PodSecurityError(f"defaults.{name}: unknown field")
    for name in exemptions:
        if name not in ("usernames", "namespaces", "runtimeClasses"):
            raise PodSecurityError(f"exemptions.{name}: unknown field")
    policies = {mode: _policy(defaults, mode) for mode in _MODES}
    lists = {
        name: tuple(str(one) for one in _list(exemptions, name, f"exemptions.{name}"))
        for name in ("usernames", "namespaces", "runtimeClasses")
    }
    for name, values in lists.items():
        if "" in values:
            raise PodSecurityError(f'exemptions.{name}[{values.index("")}]: Invalid value: "": name must not be empty')
    return PodSecurityRules(
        policies["enforce"],
        policies["warn"],
        lists["usernames"],
        lists["namespaces"],
        lists["runtimeClasses"],
        policies["audit"],
    )


def _policy(defaults: dict[str, Any], mode: str) -> tuple[str, str]:
    level, version = defaults.get(mode) or "privileged", defaults.get(f"{mode}-version") or "latest"
    if level not in LEVELS:
        raise PodSecurityError(f'defaults.{mode}: Invalid value: "{level}": must be one of {", ".join(LEVELS)}')
    if not _VERSION.fullmatch(str(version)):
        raise PodSecurityError(f'defaults.{mode}-version: Invalid value: "{version}": must be "latest" or "v1.x"')
    return str(level), str(version)
