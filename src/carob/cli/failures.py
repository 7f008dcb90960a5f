"""How kubectl tells of an error that the server answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.api.status import ApiError


def server_error(error: ApiError, *, verb: str = "", source: str = "") -> CommandError:
    """`Error from server (NotFound): pods "x" not found`, in all of kubectl's forms.

    `source` is the manifest file that the request came from.
    Source: kubectl pkg/cmd/util StandardErrorMessage.
    """
    if error.reason == "Invalid" and error.details:
        kind, name = error.details.get("kind", ""), error.details.get("name", "")
        causes = error.details.get("causes") or []
        lines = dict.fromkeys(f"{c.get('field')}: {c.get('message')}" for c in causes if c.get("field"))
        head = f'The {kind} "{name}" is invalid'
        if len(lines) == 1:
            return CommandError(f"{head}: {next(iter(lines))}")
        if lines:
            return CommandError(f"{head}: \n" + "\n".join(f"* {line}" for line in lines))
    if error.reason == "Invalid" and not error.details:
        return CommandError(f"The request is invalid: {error.message}")
    if error.reason == "Unauthorized":
        return CommandError("error: You must be logged in to the server (Unauthorized)")
    reason = f" ({error.reason})" if error.reason else ""
    where = ""
    if source and verb:
        # a patch's description names the file itself
        where = f"error when {verb}: " if "\n" in verb else f'error when {verb} "{source}": '
    return CommandError(f"Error from server{reason}: {where}{error.message}")
