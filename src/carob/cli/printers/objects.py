"""`-o FORMAT` for whole objects: one printer a command line, the same for every verb.

Source: cli-runtime pkg/genericclioptions (print_flags, jsonpath_flags, template_flags).
"""

from __future__ import annotations

import sys

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FORMATS = (
    "go-template",
    "go-template-file",
    "json",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "kyaml",
    "name",
    "template",
    "templatefile",
    "yaml",
)
GET_FORMATS = ("custom-columns", "custom-columns-file", *FORMATS[:-1], "wide", "yaml")


class ObjectPrinter:
    """What `-o` says. Raises: CommandError for what is no format of the verb, or a template that cannot be parsed."""

    def __init__(
        self,
        output: str,
        formats: Sequence[str] = FORMATS,
        *,
        template: str = "",
        managed_fields: bool = False,
        no_headers: bool = False,
        allow_missing: bool = True,
    ) -> None:
        self.format, _, spec = (output or ("go-template" if template else "")).partition("=")
        self._spec = spec or template
        self._managed_fields = managed_fields
        self._no_headers = no_headers
        self._allow_missing = allow_missing
        self._first = True
        takes_spec = "template" in self.format or "jsonpath" in self.format or "columns" in self.format
        if self.format and (self.format not in formats or ("=" in output and not takes_spec)):
            raise CommandError(
                f'error: unable to match a printer suitable for the output format "{output}", '
                f"allowed formats are: {','.join(formats)}"
            )
        self._columns = self._make_columns() if self.format.startswith("custom-columns") else None
        self._path = self._make_path() if self.format.startswith("jsonpath") else None
        self._template = self._make_template() if "template" in self.format else None

    def _make_columns(self) -> Any:
        from carob.cli.printers.custom_columns import CustomColumns

        make = CustomColumns.from_file if self.format == "custom-columns-file" else CustomColumns
        return make(self._spec)

    def _make_path(self) -> Any:
        from carob.cli.printers.jsonpath import JsonPath

        if not self._spec:
            raise CommandError("error: template format specified but no template given")
        text = self._read_spec() if self.format == "jsonpath-file" else self._spec
        return JsonPath(text, allow_missing=self._allow_missing)

    def _make_template(self) -> Any:
        from carob.cli.printers.go_template import GoTemplate

        if not self._spec:
            raise CommandError("error: template format specified but no template given")
        text = self._read_spec() if self.format in ("go-template-file", "templatefile") else self._spec
        return GoTemplate(text, allow_missing=self._allow_missing)

    def _read_spec(self) -> str:
        try:
            with open(self._spec, encoding="utf-8") as stream:
                return stream.read()
        except OSError as error:
            why = f"open {self._spec}: {str(error.strerror).lower()}"
            raise CommandError(f"error: error reading --template {self._spec}, {why}") from error

    def text(self, tree: Any, *, typed: bool = False) -> str:
        """An object or a list, as it is written. `typed`: JSON keeps the order of the fields of the type."""
        if self._columns is not None:
            items = tree["items"] if _is_list(tree) else [tree]
            # kubectl shows the headers of a file whatever it was told
            without = self._no_headers and self.format == "custom-columns"
            lines = self._columns.lines(items, no_headers=without or not self._first)
            self._first = False
            return "".join(line + "\n" for line in lines)
        if self.format == "name":
            return "".join(name_of(item) + "\n" for item in (tree["items"] if _is_list(tree) else [tree]))
        from carob.cli.printers import structured

        if self._template is not None:
            return self._filled_in(tree)
        if self._path is not None:
            if self.format == "jsonpath-as-json":
                return "".join(structured.to_json(values) for values in self._path.results(tree))
            return str(self._path.render(tree))
        # only here: templates and paths see managedFields, as with kubectl
        if not self._managed_fields:
            structured.without_managed_fields(tree)
        if self.format == "json":
            return structured.to_json(tree, sort=not typed)
        if self.format == "kyaml":
            from carob.cli.printers.kyaml import to_kyaml

            return to_kyaml(tree, sort=not typed)
        separator = "" if self._first else "---\n"
        self._first = False
        return separator + structured.to_yaml(tree)

    def _filled_in(self, tree: Any) -> str:
        from carob.cli.printers.go_template import DoesNotFit

        assert self._template is not None
        try:
            return str(self._template.render(tree))
        except DoesNotFit as error:
            # kubectl has printed by then what was filled in so far, and how the object looks
            sys.stdout.write(error.printed)
            raise


def _is_list(tree: Any) -> bool:
    return isinstance(tree, dict) and str(tree.get("kind", "")).endswith("List") and isinstance(tree.get("items"), list)


def name_of(tree: Any) -> str:
    """`pod/hello-pod`, `deployment.apps/web`."""
    group = str(tree.get("apiVersion", "")).rpartition("/")[0]
    kind = str(tree.get("kind", "")).lower()
    name = (tree.get("metadata") or {}).get("name", "")
    return f"{kind}.{group}/{name}" if group else f"{kind}/{name}"
