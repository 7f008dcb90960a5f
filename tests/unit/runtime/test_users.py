"""Users and groups as the image's own files name them."""

from __future__ import annotations

import pytest

from carob.runtime.embedded.users import NoSuchUser, User, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:\nbroken\n# comment:x\n"
GROUP = "root:x:0:\nweb:x:1001:\nextra:x:2000:web,other\nmore:x:2001:web\n"


@pytest.mark.parametrize(
    ("image_user", "expected"),
    [
        ("", User(uid=0, gid=0, groups=(0,), home="/root")),
        ("web", User(uid=1000, gid=1001, groups=(1001, 2000, 2001), home="/home/web")),
        ("1000", User(uid=1000, gid=1001, groups=(1001, 2000, 2001), home="/home/web")),
        ("web:extra", User(uid=1000, gid=2000, groups=(2000,), home="/home/web")),
        ("5:6", User(uid=5, gid=6, groups=(6,), home="/")),
        ("77", User(uid=77, gid=0, groups=(0,), home="/")),
    ],
)
def test_the_images_user(image_user: str, expected: User) -> None:
    assert resolve(PASSWD, GROUP, image_user=image_user) == expected


def test_the_pod_decides_over_the_image() -> None:
    made = resolve(PASSWD, GROUP, image_user="root:extra", run_as_user=1000, run_as_group=9, supplemental_groups=[5, 9])
    assert made == User(uid=1000, gid=9, groups=(9, 2000, 2001, 5), home="/home/web")


def test_a_pods_group_alone_keeps_the_images_user() -> None:
    assert resolve(PASSWD, GROUP, image_user="web", run_as_group=9).uid == 1000


@pytest.mark.parametrize(
    ("image_user", "words"), [("nobody", "unable to find user nobody"), ("web:none", "unable to find group none")]
)
def test_unknown_names_are_refused(image_user: str, words: str) -> None:
    with pytest.raises(NoSuchUser, match=words):
        resolve(PASSWD, GROUP, image_user=image_user)


def test_an_image_without_files_has_numbers_only() -> None:
    assert resolve(PASSWD, GROUP, image_user="web", strict=True, supplemental_groups=[5]).groups == (1001, 5)
    assert resolve("", "", run_as_user=12) == User(uid=12, gid=0, groups=(0,), home="/")
