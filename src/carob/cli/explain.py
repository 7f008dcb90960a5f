"""Get documentation for a resource: its fields, their types, what the server's schema says of them.

Examples:
  carob explain pod
  carob explain pod.spec.containers
  carob explain deployment --recursive
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

WIDTH = 76
MAX_DEPTH = 100
MAX_ENUM = 4


def add_flags(flags: Flags) -> None:
    """kubectl explain's flags."""
    flags.usage = "TYPE[.FIELD...] [flags]"
    flags.switch("recursive", help="all fields of fields, without descriptions")
    flags.text("api-version", meta="VERSION", help="of this version, such as apps/v1")
    flags.text("output", "o", default="plaintext")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Print it."""
    if not arguments.words:
        raise CommandError(
            'error: You must specify the type of resource to explain. Use "carob api-resources" for a complete list of '
            "supported resources."
        )
    if len(arguments.words) > 1:
        raise CommandError(
            "error: We accept only this format: explain RESOURCE\nSee 'carob explain -h' for help and examples"
        )
    connection = connect(arguments)
    try:
        row, path = _resolve(connection, arguments)
        schemas = _schemas(connection, row)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()
    print(Explanation(row, schemas, recursive=arguments.recursive).head(), end="", flush=True)
    print(Explanation(row, schemas, recursive=arguments.recursive).text(path), end="")
    return 0


def _resolve(connection: Connection, arguments: Arguments) -> tuple[Resource, list[str]]:
    """The resource, and the fields behind it."""
    from carob.api.resources import TABLE
    from carob.cli.selection import Selection

    word, *fields = arguments.words[0].split(".")
    try:
        row = Selection(connection).resources(word)[0]
    except CommandError as error:
        raise CommandError(str(error).removeprefix("error: ")) from error
    if arguments.api_version:
        other = TABLE.by_kind(arguments.api_version, row.kind)
        if other is None:
            raise CommandError(f'error: couldn\'t find resource for "{arguments.api_version}, Resource={row.plural}"')
        row = other
    return row, fields


def _schemas(connection: Connection, row: Resource) -> dict[str, Any]:
    name = f"apis/{row.group}/{row.version}" if row.group else f"api/{row.version}"
    paths = connection.json("GET", "/openapi/v3").get("paths") or {}
    url = (paths.get(name) or {}).get("serverRelativeURL")
    if not url:
        raise CommandError(f'error: couldn\'t find resource for "{row.api_version}, Resource={row.plural}"')
    path, _, query = url.partition("?")
    pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    document = connection.json("GET", path, pairs)
    schemas: dict[str, Any] = (document.get("components") or {}).get("schemas") or {}
    return schemas


class Explanation:
    """The text about one kind's fields."""

    def __init__(self, row: Resource, schemas: dict[str, Any], *, recursive: bool) -> None:
        self._row = row
        self._schemas = schemas
        self._recursive = recursive

    def head(self) -> str:
        """Group, kind and version."""
        group = f"GROUP:      {self._row.group}\n" if self._row.group else ""
        return f"{group}KIND:       {self._row.kind}\nVERSION:    {self._row.version}\n\n"

    def text(self, path: list[str]) -> str:
        """About the field at `path`. Raises: CommandError where there is none."""
        schema, shown = self._root(), ""
        for name in path:
            fields = self._fields(schema)
            if name not in fields:
                raise CommandError(f'error: field "{path[-1]}" does not exist')
            schema = fields[name]
            shown = f"FIELD: {name} <{self._type(schema)}>\n"
        enum = self._enum(schema)
        if shown:
            shown += "ENUM:\n" + "".join(f"    {value}\n" for value in enum) if enum else "\n"
            shown += "\n"
        about = "".join(_wrapped(text, "    ") for text in self._all_descriptions(schema))
        shown += "DESCRIPTION:\n" + (about + "    \n" if about else "    <empty>\n")
        fields = self._fields(schema)
        if not fields:
            return shown + "\n"
        shown += "FIELDS:\n"
        if self._recursive:
            return shown + self._tree(schema, 1, ()) + "\n"
        return shown + "".join(self._field(schema, name) for name in sorted(fields)) + "\n"

    def _field(self, parent: dict[str, Any], name: str) -> str:
        schema = self._fields(parent)[name]
        text = self._line(parent, name, 1)
        about = self._description(schema)
        text += _wrapped(about, "    ") if about else "    <no description>\n"
        return text + "\n"

    def _line(self, parent: dict[str, Any], name: str, level: int) -> str:
        schema = self._fields(parent)[name]
        required = " -required-" if name in (self._target(parent).get("required") or []) else ""
        text = f"{'  ' * level}{name}\t<{self._type(schema)}>{required}\n"
        values = self._enum(schema)
        if values:
            shown = values if len(values) <= MAX_ENUM else [*values[:MAX_ENUM], "...."]
            text += f"{'  ' * level}enum: {', '.join(shown)}\n"
        return text

    def _tree(self, schema: dict[str, Any], level: int, seen: tuple[int, ...]) -> str:
        target = self._target(schema)
        if id(target) in seen or level > MAX_DEPTH:
            return ""
        out = ""
        for name in sorted(self._fields(schema)):
            out += self._line(schema, name, level)
            out += self._tree(self._fields(schema)[name], level + 1, (*seen, id(target)))
        return out

    # --- schemas

    def _root(self) -> dict[str, Any]:
        wanted = {"group": self._row.group, "version": self._row.version, "kind": self._row.kind}
        for schema in self._schemas.values():
            if wanted in (schema.get("x-kubernetes-group-version-kind") or []):
                found: dict[str, Any] = schema
                return found
        raise CommandError(f'error: couldn\'t find resource for "{self._row.api_version}, Kind={self._row.kind}"')

    def _reference(self, schema: dict[str, Any]) -> str:
        reference = schema.get("$ref", "")
        if not reference and len(schema.get("allOf") or []) == 1:
            reference = schema["allOf"][0].get("$ref", "")
        return str(reference).rpartition("/")[2]

    def _target(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Behind references, lists and maps: what has the fields."""
        for _ in range(MAX_DEPTH):
            reference = self._reference(schema)
            if reference:
                schema = self._schemas.get(reference) or {}
            elif schema.get("type") == "array":
                schema = schema.get("items") or {}
            elif isinstance(schema.get("additionalProperties"), dict) and not schema.get("properties"):
                schema = schema["additionalProperties"]
            else:
                return schema
        return schema

    def _fields(self, schema: dict[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = self._target(schema).get("properties") or {}
        return fields

    def _enum(self, schema: dict[str, Any]) -> list[str]:
        """The values that a field may have; those of a list's items do not count."""
        values = schema.get("enum") or (self._schemas.get(self._reference(schema)) or {}).get("enum") or []
        return [str(value) or '""' for value in sorted(values)]

    def _description(self, schema: dict[str, Any]) -> str:
        own = schema.get("description")
        return str(own or (self._schemas.get(self._reference(schema)) or {}).get("description") or "")

    def _all_descriptions(self, schema: dict[str, Any], depth: int = 0) -> list[str]:
        """The field's own words, then those of its type."""
        own = [schema["description"]] if schema.get("description") else []
        if depth > MAX_DEPTH:
            return own
        reference = self._reference(schema)
        if reference:
            return own + self._all_descriptions(self._schemas.get(reference) or {}, depth + 1)
        for inner in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(inner, dict):
                return own + self._all_descriptions(inner, depth + 1)
        return own

    def _type(self, schema: dict[str, Any]) -> str:
        reference = self._reference(schema)
        if reference:
            kind = (self._schemas.get(reference) or {}).get("type")
            return str(kind) if kind and kind != "object" else reference.rpartition(".")[2]
        if schema.get("type") == "array":
            return "[]" + self._type(schema.get("items") or {})
        if isinstance(schema.get("additionalProperties"), dict):
            return "map[string]" + self._type(schema["additionalProperties"])
        return "Object" if schema.get("type", "object") == "object" else str(schema["type"])


def _wrapped(text: str, indent: str) -> str:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return "".join(indent + line + "\n" for line in lines)
