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
      carob create job now --from=cronjob/nightly
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --image=IMAGE [--from=cronjob/NAME] [flags] [-- COMMAND [args...]]"
        flags.text("image", meta="IMAGE", help="the image of the container")
        flags.text("from", meta="cronjob/NAME", help="run what this cron job runs")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name, command = _name(arguments, "job")
        source = arguments.__dict__["from"]
        if bool(arguments.image) == bool(source):
            raise CommandError("error: either --image or --from must be specified")
        if source and command:
            raise CommandError("error: cannot specify --from and command")
        if source:
            return create(arguments, _of_cron_job(arguments, name, source))
        template = {"metadata": {}, "spec": _job_pod(name, arguments.image, command, "Never")}
        tree = {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "metadata": {"name": name},
            "spec": {"template": template},
            "status": {},
        }
        return create(arguments, tree)


def _job_pod(name: str, image: str, command: list[str], restart_policy: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": image, "resources": {}}
    if command:
        container["command"] = command
    return {"containers": [container], "restartPolicy": restart_policy}


def _of_cron_job(arguments: Arguments, name: str, source: str) -> dict[str, Any]:
    """A Job as the CronJob makes them. Raises: CommandError."""
    from carob.api.status import ApiError
    from carob.cli.connection import connect
    from carob.cli.failures import server_error
    from carob.cli.selection import Selection

    connection = connect(arguments)
    try:
        selected = Selection(connection).parse([source])
        row, wanted = selected[0].resource, selected[0].name
        place = row.path(connection.namespace if row.namespaced else None)
        cron_job = connection.json("GET", f"{place}/{wanted}") if wanted is not None else {}
        if row.kind != "CronJob" or wanted is None:
            raise CommandError("error: from must be an existing cronjob")
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    template = cron_job["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "name": name,
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **(given.get("annotations") or {})},
        "ownerReferences": [
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "name": cron_job["metadata"]["name"],
                "uid": cron_job["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    if given.get("labels"):
        metadata["labels"] = given["labels"]
    return {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": template["spec"], "status": {}}


class CronJob:
    """Create a cron job with the specified name.

    Examples:
      carob create cronjob nightly --image=busybox --schedule="0 3 * * *" -- date
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --image=IMAGE --schedule='0/5 * * * ?' [flags] [-- COMMAND [args...]]"
        flags.text("image", meta="IMAGE", help="the image of the container")
        flags.text("schedule", meta="SCHEDULE", help="when it runs, as crontab writes it")
        flags.text("restart", default="", meta="POLICY", help="OnFailure or Never")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        missing = [flag for flag in ("image", "schedule") if flag not in arguments.changed]
        if missing:
            words = ", ".join(f'"{flag}"' for flag in missing)
            raise CommandError(f"error: required flag(s) {words} not set")
        name, command = _name(arguments, "cronjob")
        if not arguments.schedule:
            raise CommandError("error: schedule must be specified")
        pod = _job_pod(name, arguments.image, command, arguments.restart or "OnFailure")
        job = {"metadata": {"name": name}, "spec": {"template": {"metadata": {}, "spec": pod}}}
        tree = {
            "kind": "CronJob",
            "apiVersion": "batch/v1",
            "metadata": {"name": name},
            "spec": {"schedule": arguments.schedule, "jobTemplate": job},
            "status": {},
        }
        return create(arguments, tree)
