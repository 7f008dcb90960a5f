"""`-k`: a folder's kustomization, built by the machine's own tool: `kustomize`, or the `kubectl` that has it in it."""

from __future__ import annotations

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.cli.flags import Arguments

_TOOLS = (("kustomize", "build"), ("kubectl", "kustomize"))


class Built(str):
    """The name of a kustomization among those of files, with the manifests that it gave."""

    __slots__ = ("text",)

    def __new__(cls, name: str, text: bytes) -> Built:
        made = super().__new__(cls, name)
        made.text = text
        return made

    text: bytes


def take(arguments: Arguments) -> None:
    """Put what `-k` gives in the place of files. Raises: CommandError."""
    if arguments.filename:
        raise CommandError("error: only one of -f or -k can be specified")
    if len(arguments.kustomize) > 1:
        raise CommandError("error: expected exactly one kustomization with -k")
    (name,) = arguments.kustomize
    arguments.filename = [Built(name, _build(name))]


def _build(name: str) -> bytes:
    import re
    import shutil
    import subprocess
    import sys

    for tool, verb in _TOOLS:
        path = shutil.which(tool)
        if path is None:
            continue
        with subprocess.Popen([path, verb, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            built, words = process.communicate()
        if process.returncode:
            said = words.decode("utf-8", "replace").strip()
            logged = re.search(r'err="(.*)"$', said)
            said = logged[1] if logged else said
            raise CommandError(f"error: {said.removeprefix('Error: ').removeprefix('error: ')}")
        sys.stderr.write(words.decode("utf-8", "replace"))
        return built
    raise CommandError(
        "error: -k needs kustomize or kubectl on this machine; or build it elsewhere, and pipe it to -f -"
    )
