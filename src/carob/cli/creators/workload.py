"""`create deployment` and `create job`: Pods that somebody else keeps running.

Source: kubectl pkg/cmd/create/create_deployment.go, create_job.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, create, the_name
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


def _need_image(arguments: Arguments) -> None:
    if "image" not in arguments.changed:
        raise CommandError('error: required flag(s) "image" not set')


def _name(arguments: Arguments, kind: str) -> tuple[str, list[str]]:
    """The NAME, and the command behind `--`."""
    dash = arguments.dash if arguments.dash >= 0 else len(arguments.words)
    command = arguments.words[dash:]
    arguments.words = arguments.words[:dash]
    return the_name(arguments, kind), command


def container_name(image: str) -> str:
    """What a container of this image is called: the last part of the image's name."""
    last = image.rpartition("/")[2]
    return re.sub(r"[^a-zA-Z0-9-]", "-", last.partition("@")[0].partition(":")[0]).lower()


class Deployment:
    """Create a deployment with the specified name.

    Examples:
      carob create deployment web --image=nginx --replicas=3 --port=80
      carob create deployment tick --image=busybox -- sh -c 'while true; do date; sleep 1; done'
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --image=IMAGE [flags] [-- COMMAND [args...]]"
        flags.csv("image", meta="IMAGE", help="the image of the container; several make several containers")
        flags.number("replicas", "r", default=1, help="how many Pods")
        flags.number("port", default=-1, meta="PORT", help="the port that the container serves")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        _need_image(arguments)
        name, command = _name(arguments, "deployment")
        if len(arguments.image) > 1 and command:
            raise CommandError("error: cannot specify multiple --image options and command")
        if arguments.replicas < 0:
            raise CommandError("error: invalid replicas: must be 0 or more")
        containers: list[dict[str, Any]] = []
        for image in arguments.image:
            container: dict[str, Any] = {"name": container_name(image), "image": image, "resources": {}}
            if command:
                container["command"] = command
            containers.append(container)
        if arguments.port >= 0:
            containers[0]["ports"] = [{"containerPort": arguments.port}]
        labels = {"app": name}
        tree = {
            "kind": "Deployment",
            "apiVersion": "apps/v1",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": arguments.replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
                "strategy": {},
            },
            "status": {},
        }
        return create(arguments, tree)


class Job:
    """Create a job with the specified name.

    Examples:
      carob create job once --image=busybox -- date
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --image=IMAGE [flags] [-- COMMAND [args...]]"
        flags.text("image", meta="IMAGE", help="the image of the container")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name, command = _name(arguments, "job")
        if not arguments.image:
            raise CommandError("error: either --image or --from must be specified")
        container: dict[str, Any] = {"name": name, "image": arguments.image, "resources": {}}
        if command:
            container["command"] = command
        template = {"metadata": {}, "spec": {"containers": [container], "restartPolicy": "Never"}}
        tree = {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": {"name": name},
            "spec": {"template": template},
            "status": {},
        }
        return create(arguments, tree)
