"""Rules of file paths inside volumes and containers. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.validation import field

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

MODE_WORDS = "must be a number between 0 and 0777 (octal), both inclusive"


def is_plain(target: str) -> bool:
    """True for a relative path in which nothing needs a closer look: the common case, told cheaply."""
    return bool(target) and target[0] not in "/." and ".." not in target


def no_backsteps(out: list[Cause], path: str, target: str) -> None:
    """No part of the path may lead upwards."""
    if ".." in target and ".." in target.split("/"):
        out.append(field.invalid(path, target, "must not contain '..'"))


def local_descending(out: list[Cause], path: str, target: str) -> None:
    """A relative path that stays below."""
    if target.startswith("/"):
        out.append(field.invalid(path, target, "must be a relative path"))
    no_backsteps(out, path, target)


def local_unreserved(out: list[Cause], path: str, target: str) -> None:
    """As `local_descending`, and no name that the kubelet keeps for itself."""
    local_descending(out, path, target)
    if target.startswith("..") and not target.startswith("../") and target != "..":
        out.append(field.invalid(path, target, "must not start with '..'"))


def mode(out: list[Cause], path: str, value: int | None) -> None:
    """Permission bits of a file."""
    if value is not None and not 0 <= value <= 0o777:
        out.append(field.invalid(path, value, MODE_WORDS))
