"""Image references: whether a name is one, and the tag that it means. Pure.

Source: distribution/reference `ParseNormalizedNamed` and its regular expressions.
"""

from __future__ import annotations

import re

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_SEPARATOR = r"(?:[._]|__|[-]+)"
_PATH_PART = rf"[a-z0-9]+(?:{_SEPARATOR}[a-z0-9]+)*"
_NAME = rf"(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*"
_REFERENCE = re.compile(
    rf"(?P<name>{_NAME})(?::(?P<tag>[\w][\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_HEX_ID = re.compile(r"[a-f0-9]{64}")
LONGEST_NAME = 255


class InvalidImageName(ValueError):
    """The text is no image reference; the message is upstream's."""


def with_default_tag(image: str) -> str:
    """`busybox` becomes `busybox:latest`; a tag or a digest stays.

    Raises: InvalidImageName.
    """
    match = _REFERENCE.fullmatch(image)
    if match is None or _HEX_ID.fullmatch(image):
        why = "invalid reference format"
        if _HEX_ID.fullmatch(image):
            why = f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
        elif (repository := _repository(image)) != repository.lower():
            why = f"invalid reference format: repository name ({repository}) must be lowercase"
        raise InvalidImageName(f'couldn\'t parse image name "{image}": {why}')
    if len(match["name"]) > LONGEST_NAME:
        raise InvalidImageName(
            f'couldn\'t parse image name "{image}": repository name must not be more than {LONGEST_NAME} characters'
        )
    return image if match["tag"] or match["digest"] else f"{image}:latest"


def _repository(image: str) -> str:
    """The path behind the registry's host, before any tag; `library/` where Docker Hub's short names have none."""
    head, slash, rest = image.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head.lower() != head):
        path = rest
    else:
        path = image if slash else f"library/{image}"
    return path.partition(":")[0]
