"""Who a container runs as: names and numbers looked up in the image's own /etc/passwd and /etc/group.

Pure: the two files come as text. Source: containerd oci.WithUser and WithAdditionalGIDs; passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field


class User(Struct, kw_only=True, frozen=True):
    """`groups` are supplementary, the primary one included, as the kernel's getgroups(2) would show them."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = field(default=())
    home: str = "/"


class _Entry(Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


class NoSuchUser(Exception):
    """The image knows no such user or group; the words are upstream's."""


def resolve(
    passwd: str,
    group: str,
    *,
    image_user: str = "",
    run_as_user: int | None = None,
    run_as_group: int | None = None,
    supplemental_groups: tuple[int, ...] | list[int] = (),
    strict: bool = False,
) -> User:
    """The user of a container's processes.

    `image_user` is the image's USER: `""`, `uid`, `name`, `uid:gid`, `name:group`; a Pod's runAsUser replaces it.
    `strict`: the image's own /etc/group adds no groups (supplementalGroupsPolicy: Strict).
    Raises: NoSuchUser for a name that the image does not know.
    """
    user, _, wanted_group = ("", "", "") if run_as_user is not None else image_user.partition(":")
    wanted = str(run_as_user) if run_as_user is not None else user or "0"
    entry = next((e for e in _accounts(passwd) if wanted in (e.name, str(e.uid))), None)
    if entry is None and not wanted.isdigit():
        raise NoSuchUser(f"unable to find user {wanted}: no matching entries in passwd file")
    uid = entry.uid if entry is not None else int(wanted)
    gid = _group(wanted_group, group) if wanted_group else entry.gid if entry is not None else 0
    if run_as_group is not None:
        gid = run_as_group
    groups = [gid]
    if entry is not None and not wanted_group and not strict:
        groups += [number for _, number, members in _groups(group) if entry.name in members]
    groups += supplemental_groups
    home = entry.home if entry is not None and entry.home else "/"
    return User(uid=uid, gid=gid, groups=tuple(dict.fromkeys(groups)), home=home)


def _group(wanted: str, text: str) -> int:
    for name, number, _ in _groups(text):
        if wanted in (name, str(number)):
            return number
    if wanted.isdigit():
        return int(wanted)
    raise NoSuchUser(f"unable to find group {wanted}: no matching entries in group file")


def _accounts(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            yield _Entry(fields[0], int(fields[2]), int(fields[3]), fields[5])


def _groups(text: str) -> Iterator[tuple[str, int, list[str]]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdigit():
            yield fields[0], int(fields[2]), fields[3].split(",") if len(fields) > 3 else []
