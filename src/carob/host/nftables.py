"""nftables: scripts in nft's own language, run as one atomic transaction each.

In the process by `libnftables.so.1` (a changed rule costs 4 ms), else by the `nft` command (20 ms). Either way the
namespace is that of the thread which *made* the object, whichever thread calls it later.

May touch: libnftables through ctypes, or a child process. Invariant: one script at a time; all of it or nothing.
Source: nft(8), libnftables(3).
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

LIBRARY = "libnftables.so.1"
_OUTPUT_JSON = 1 << 4
_OUTPUT_TERSE = 1 << 11


class NftablesError(Exception):
    """nft refused a script; the text is nft's own. `script` is what it was given."""

    def __init__(self, message: str, script: str) -> None:
        super().__init__(message)
        self.script = script


class Nftables(Protocol):
    """Runs scripts. Every method may be called from any thread. Raises: NftablesError."""

    def run(self, script: str) -> None:
        """Do the whole script in one transaction, or nothing of it."""
        ...

    def query(self, command: str) -> list[dict[str, Any]]:
        """The objects that a `list` command answers, as libnftables-json(5) writes them."""
        ...

    def text(self, command: str) -> str:
        """What a `list` command prints, without the elements of sets."""
        ...

    def close(self) -> None:
        """Give back what it holds; idempotent."""
        ...


def open_nftables() -> Nftables:
    """The best way that this machine has, into the network namespace of the calling thread.

    Raises: FileNotFoundError when there is neither the library nor the command.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        command = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if command is None:
            raise FileNotFoundError(
                "neither libnftables.so.1 nor the nft command is installed (package nftables)"
            ) from None
        return CommandNftables(command)
    return LibraryNftables(library)


def table_names(nftables: Nftables, prefix: str) -> list[tuple[str, str]]:
    """Family and name of every table whose name begins with `prefix`."""
    found = [entry["table"] for entry in nftables.query("list tables") if "table" in entry]
    return [(table["family"], table["name"]) for table in found if table["name"].startswith(prefix)]


def set_elements(nftables: Nftables, table: str, name: str) -> set[str]:
    """The addresses, and ranges as CIDR texts, of a set. Raises: NftablesError when there is none."""
    found = nftables.query(f"list set {table} {name}")
    listed = [one for entry in found for one in entry.get("set", {}).get("elem", ())]
    prefixes = [one["prefix"] for one in listed if isinstance(one, dict) and "prefix" in one]
    return {f"{one['addr']}/{one['len']}" for one in prefixes} | {one for one in listed if isinstance(one, str)}


class LibraryNftables:
    """libnftables in this process. Its context holds a netlink socket, made here."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._lock = threading.Lock()
        self._context: int | None = library.nft_ctx_new(0)
        if self._context is None:
            raise OSError("libnftables: no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, script: str) -> None:
        self._do(script, 0)

    def query(self, command: str) -> list[dict[str, Any]]:
        return _objects(self._do(command, _OUTPUT_JSON))

    def text(self, command: str) -> str:
        return self._do(command, _OUTPUT_TERSE)

    def close(self) -> None:
        with self._lock:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

    def _do(self, script: str, flags: int) -> str:
        with self._lock:
            if self._context is None:
                raise NftablesError("closed", script)
            self._library.nft_ctx_output_set_flags(self._context, flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
            output = self._library.nft_ctx_get_output_buffer(self._context) or b""
            errors = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise NftablesError(errors.decode("utf-8", "replace").strip() or "nft failed without a word", script)
        return str(output.decode("utf-8", "replace"))


class CommandNftables:
    """A child process per script, started by a thread that stays in the namespace where it was made."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._thread = ThreadPoolExecutor(1, "nft")
        # an executor starts its thread at the first use, in the user's namespace: use it now
        self._thread.submit(int).result()

    def run(self, script: str) -> None:
        self._thread.submit(self._do, ["-f", "-"], script).result()

    def query(self, command: str) -> list[dict[str, Any]]:
        return _objects(self._thread.submit(self._do, ["-j", command]).result())

    def text(self, command: str) -> str:
        return self._thread.submit(self._do, ["-t", command]).result()

    def close(self) -> None:
        self._thread.shutdown()

    def _do(self, arguments: list[str], script: str = "") -> str:
        with subprocess.Popen(
            [self._command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            output, errors = child.communicate(script)
        if child.returncode:
            raise NftablesError(errors.strip() or f"nft ended with {child.returncode}", script or arguments[-1])
        return output


def _objects(answer: str) -> list[dict[str, Any]]:
    if not answer.strip():
        return []
    objects: list[dict[str, Any]] = json.loads(answer)["nftables"]
    return objects
