"""Messages of the CRI's ImageService. The numbers are the wire's.

Source: kubernetes/cri-api `pkg/apis/runtime/v1/api.proto`, v1.36. What is for Windows alone is left out.
"""

from __future__ import annotations

from typing import Annotated

from carob.runtime.cri.codec import UNSIGNED, Message
from carob.runtime.cri.sandbox_messages import Int64Value, PodSandboxConfig, UInt64Value


class ImageSpec(Message):
    image: Annotated[str, 1] = ""
    annotations: Annotated[dict[str, str], 2] = {}
    user_specified_image: Annotated[str, 18] = ""
    runtime_handler: Annotated[str, 19] = ""
    image_ref: Annotated[str, 20] = ""


class ImageFilter(Message):
    image: Annotated[ImageSpec | None, 1] = None


class ListImagesRequest(Message):
    """Also what asks for a stream of them."""

    filter: Annotated[ImageFilter | None, 1] = None


class Image(Message):
    id: Annotated[str, 1] = ""
    repo_tags: Annotated[list[str], 2] = []
    repo_digests: Annotated[list[str], 3] = []
    size: Annotated[int, 4, UNSIGNED] = 0
    uid: Annotated[Int64Value | None, 5] = None
    username: Annotated[str, 6] = ""
    spec: Annotated[ImageSpec | None, 7] = None
    pinned: Annotated[bool, 8] = False


class Images(Message):
    """The answer to a list, and one message of the stream."""

    images: Annotated[list[Image], 1] = []


class ImageStatusRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    verbose: Annotated[bool, 2] = False


class ImageStatusResponse(Message):
    image: Annotated[Image | None, 1] = None
    info: Annotated[dict[str, str], 2] = {}


class AuthConfig(Message):
    username: Annotated[str, 1] = ""
    password: Annotated[str, 2] = ""
    auth: Annotated[str, 3] = ""
    server_address: Annotated[str, 4] = ""
    identity_token: Annotated[str, 5] = ""
    registry_token: Annotated[str, 6] = ""


class PullImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    auth: Annotated[AuthConfig | None, 2] = None
    sandbox_config: Annotated[PodSandboxConfig | None, 3] = None


class PullImageResponse(Message):
    image_ref: Annotated[str, 1] = ""


class RemoveImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None


class FilesystemIdentifier(Message):
    mountpoint: Annotated[str, 1] = ""


class FilesystemUsage(Message):
    timestamp: Annotated[int, 1] = 0
    fs_id: Annotated[FilesystemIdentifier | None, 2] = None
    used_bytes: Annotated[UInt64Value | None, 3] = None
    inodes_used: Annotated[UInt64Value | None, 4] = None


class ImageFsInfoResponse(Message):
    image_filesystems: Annotated[list[FilesystemUsage], 1] = []
    container_filesystems: Annotated[list[FilesystemUsage], 2] = []
