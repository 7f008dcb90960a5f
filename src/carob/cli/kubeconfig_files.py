"""The kubeconfig files that `config` reads and changes: which of them says what, and writing one back.

Source: client-go tools/clientcmd/config.go: a value is changed in the file that defines it; a new one goes into the first file
that exists, or into a new one, the last of the list.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from carob.cli.errors import CommandError
from carob.cli.printers.structured import to_yaml

KINDS = {"clusters": "cluster", "contexts": "context", "users": "user"}


class Kubeconfig:
    """The files of `--kubeconfig`, `KUBECONFIG` or the usual place."""

    def __init__(self, flag: str) -> None:
        named = [flag] if flag else [part for part in os.environ.get("KUBECONFIG", "").split(":") if part]
        self.files = [Path(name) for name in named or [os.path.expanduser("~/.kube/config")]]
        self._trees = {file: self._read(file) for file in self.files}

    @staticmethod
    def _read(file: Path) -> dict[str, Any]:
        import yaml

        try:
            tree = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except FileNotFoundError:
            return {}
        except (OSError, yaml.YAMLError) as error:
            raise CommandError(f'error: error loading config file "{file}": {error}') from error
        if tree is not None and not isinstance(tree, dict):
            raise CommandError(f'error: error loading config file "{file}": it is no kubeconfig')
        return tree or {}

    @property
    def first(self) -> Path:
        """Where messages say that something was, and where new things go."""
        return next((file for file in self.files if file.exists()), self.files[-1])

    @property
    def current(self) -> str:
        """The current context's name."""
        return next((str(t["current-context"]) for t in self._trees.values() if t.get("current-context")), "")

    def entries(self, kind: str) -> dict[str, dict[str, Any]]:
        """Name -> content of each cluster, context or user; the first file to say something wins."""
        found: dict[str, dict[str, Any]] = {}
        for tree in self._trees.values():
            for entry in tree.get(kind) or []:
                if isinstance(entry, dict) and entry.get("name") not in (None, ""):
                    found.setdefault(str(entry["name"]), entry.get(KINDS[kind]) or {})
        return found

    def folder_of(self, kind: str, name: str) -> Path:
        """The folder of the file that defines an entry: relative paths begin there."""
        return self._file_of(kind, name).absolute().parent

    def _file_of(self, kind: str, name: str) -> Path:
        for file, tree in self._trees.items():
            if any(isinstance(e, dict) and e.get("name") == name for e in tree.get(kind) or []):
                return file
        return self.first

    def put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        """Add an entry, or change the one of this name."""
        file = self._file_of(kind, name)
        tree = self._trees[file]
        entry = {KINDS[kind]: content, "name": name}
        entries = [e for e in tree.get(kind) or [] if e.get("name") != name]
        self._write(file, {**tree, kind: sorted([*entries, entry], key=lambda e: str(e.get("name")))})

    def remove(self, kind: str, name: str) -> Path:
        """Take an entry away; the file in which it was."""
        file = self._file_of(kind, name)
        tree = self._trees[file]
        self._write(file, {**tree, kind: [e for e in tree.get(kind) or [] if e.get("name") != name]})
        return file

    def set_current(self, name: str) -> None:
        """Make a context the current one."""
        file = next((f for f, tree in self._trees.items() if tree.get("current-context")), self.first)
        self._write(file, {**self._trees[file], "current-context": name})

    def _write(self, file: Path, tree: dict[str, Any]) -> None:
        full = {"clusters": [], "contexts": [], "current-context": "", "users": [], **tree}
        full |= {"apiVersion": "v1", "kind": "Config"}
        full |= {kind: full.get(kind) or None for kind in KINDS}
        text = to_yaml(full)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            temporary.touch(mode=0o600)
            temporary.write_text(text)
            os.replace(temporary, file.resolve() if file.is_symlink() else file)
        except OSError as error:
            raise CommandError(f"error: open {file}: {str(error.strerror).lower()}") from error
        self._trees[file] = tree
