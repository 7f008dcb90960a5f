"""Names of images: from what people write to the one full form, by upstream's rules.

`busybox` is `docker.io/library/busybox:latest`. Pure. The errors' words are upstream's, because users search for them.

Source: distribution/reference v0.6 (`ParseNormalizedNamed`), kubelet `applyDefaultImageTag`, go-digest.
"""

from __future__ import annotations

import re

from msgspec import Struct

from carob.runtime.types import RuntimeFailure

DEFAULT_DOMAIN = "docker.io"
LEGACY_DEFAULT_DOMAIN = "index.docker.io"
OFFICIAL_REPOSITORIES = "library"
DEFAULT_TAG = "latest"
MAX_REPOSITORY_LENGTH = 255

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class InvalidImageName(RuntimeFailure):
    """Nothing that a registry could have."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f'couldn\'t parse image reference "{name}": {why}', "InvalidImageName")


class ImageName(Struct, frozen=True):
    """A full name. `tag` and `digest` are empty where the user gave none."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """`docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def tagged(self) -> str:
        """`docker.io/library/busybox:latest`; empty for a name by digest alone."""
        return f"{self.repository}:{self.tag}" if self.tag else ""

    @property
    def key(self) -> str:
        """What identifies the image: the digest where there is one, else the tag."""
        return f"{self.repository}@{self.digest}" if self.digest else self.tagged

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> ImageName:
    """The full form of a name; `latest` where it has neither tag nor digest.

    Raises: InvalidImageName.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidImageName(text, f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    path = remainder.partition(":")[0]
    if path != path.lower():
        raise InvalidImageName(text, f"invalid reference format: repository name ({path}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidImageName(text, "invalid reference format")
    name = ImageName(match["domain"], match["path"], match["tag"] or "", match["digest"] or "")
    if len(name.path) > MAX_REPOSITORY_LENGTH:
        raise InvalidImageName(text, f"repository name must not be more than {MAX_REPOSITORY_LENGTH} characters")
    if name.digest:
        _check_digest(text, name.digest)
    elif not name.tag:
        return ImageName(name.domain, name.path, DEFAULT_TAG)
    return name


def _split_domain(text: str) -> tuple[str, str]:
    """Where no registry is named, it is docker.io; a first part counts as one if it looks like a host."""
    domain, slash, remainder = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, f"{OFFICIAL_REPOSITORIES}/{text}"
    if not (domain == "localhost" or "." in domain or ":" in domain or domain != domain.lower()):
        return DEFAULT_DOMAIN, text
    if domain == LEGACY_DEFAULT_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = f"{OFFICIAL_REPOSITORIES}/{remainder}"
    return domain, remainder


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise InvalidImageName(text, "unsupported digest algorithm")
    if len(value) != _DIGEST_LENGTHS[algorithm]:
        raise InvalidImageName(text, "invalid checksum digest length")
    if value != value.lower():
        raise InvalidImageName(text, "invalid checksum digest format")


def image_id(text: str) -> str:
    """`sha256:…` where the text is an image's id, with or without its algorithm; empty where it is a name."""
    if text.startswith("sha256:") and _IDENTIFIER.fullmatch(text[7:]):
        return text
    return f"sha256:{text}" if _IDENTIFIER.fullmatch(text) else ""
