"""Image references: name, tag and digest, and what follows from them.

Pure. Source: the reference grammar of the distribution project, as kubelet and API server use it.
"""

from __future__ import annotations

from carob.base.memo import remembered


@remembered(2048)
def tag_of(reference: str) -> str:
    """The tag; `latest` if neither tag nor digest is given, empty if there is only a digest or no reference at all."""
    if not reference:
        return ""
    name, at, _ = reference.partition("@")
    last = name.rpartition("/")[2]
    _, colon, tag = last.partition(":")
    if colon:
        return tag
    return "" if at else "latest"


def default_pull_policy(reference: str) -> str:
    """`Always` for the tag `latest`, else `IfNotPresent`."""
    return "Always" if tag_of(reference) == "latest" else "IfNotPresent"
