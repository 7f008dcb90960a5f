"""Server-side apply: PATCH with a configuration that its manager wants to be so, and owns from then on.

Source: apiserver `handlers/patch.go` (`applyPatcher`), apimachinery `managedfields/internal` (`versioncheck.go`,
`structuredmerge.go`, `lastappliedmanager.go`, `lastappliedupdater.go`).
Differs: what upstream answers with 500 (unknown fields, wrong types, items that come twice) is a 400 here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec, go_json, schema, strict, yaml_tree
from carob.api.apply import checks, field_sets, forms, owners, trees
from carob.api.apply.applying import Applier, before_first_apply, conflict_error
from carob.api.body_limits import check_json
from carob.api.status import bad_request, conflict
from carob.apiserver.conversion import convert_object
from carob.apiserver.handlers import ownership

if TYPE_CHECKING:
    from carob.api.apply.field_sets import FieldSet
    from carob.api.apply.forms import Form
    from carob.api.apply.owners import Owner
    from carob.api.resources import Resource
    from carob.apiserver.objects import Objects
    from carob.apiserver.registry.strategy import Strategy, WriteContext

# Whose applies keep kubectl's annotation in step, and may take what it says was applied by the client.
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Tree = dict[str, Any]


class Configuration:
    """The body of an apply, read once."""

    def __init__(self, body: bytes) -> None:
        """Raises: ApiError 400."""
        tree, self.duplicates = _read(body)
        if _MANY_DIGITS.search(body):
            tree = _in_machine_words(tree)
        if tree is None:
            tree = {}
        if not isinstance(tree, dict):
            raise bad_request("error decoding YAML: the applied configuration is not an object")
        self.tree: Tree = tree
        metadata = tree.get("metadata")
        self.metadata: Tree = metadata if isinstance(metadata, dict) else {}
        self.names_version = bool(self.metadata.get("resourceVersion"))

    def check_kind(self, row: Resource) -> None:
        """Raises: ApiError 400 for a configuration of something else."""
        version, kind = self.tree.get("apiVersion"), self.tree.get("kind")
        if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
            raise bad_request("Object 'Kind' is missing in the applied configuration" if not kind else _WRONG_VERSION)
        if (version, kind) != (row.api_version, row.kind):
            group, _, short = version.rpartition("/")
            raise bad_request(f"invalid object type: {group}/{short}, Kind={kind}")
        if self.metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")

    def complaints(self, validation: str) -> list[str]:
        """What is said of keys that come twice. Raises: ApiError 400 where the client wants it refused."""
        if not self.duplicates or validation == strict.IGNORE:
            return []
        if validation == strict.STRICT:
            raise bad_request(f"error strict decoding YAML: {self.duplicates[0]}")
        return self.duplicates


_WRONG_VERSION = "Object 'apiVersion' is missing in the applied configuration"


_MANY_DIGITS = re.compile(rb"\d{19}|\d[eE]")


def _in_machine_words(tree: Any) -> Any:
    """The tree with numbers that no 64 bits hold as floats, as Go's decoder makes them."""
    if isinstance(tree, dict):
        return {key: _in_machine_words(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_in_machine_words(value) for value in tree]
    return go_json.in_machine_words(tree) if isinstance(tree, int) and not isinstance(tree, bool) else tree


def _read(body: bytes) -> tuple[Any, list[str]]:
    if body[:1] == b"{":
        check_json(body)
        try:
            tree = orjson.loads(body)
            if not strict.has_duplicates(body, tree):
                return tree, []
        except (orjson.JSONDecodeError, ValueError):
            pass
    try:
        value, duplicates = yaml_tree.parse(body)
    except yaml_tree.YamlError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from None
    return go_json.plain(value), duplicates


class Apply:
    """One apply of one configuration, to one state or, when others are faster, to several."""

    def __init__(
        self, objects: Objects, row: Resource, strategy: Strategy, context: WriteContext, config: Tree, force: bool
    ) -> None:
        self._objects = objects
        self._row = row
        self._strategy = strategy
        self._context = context
        self._config = config
        self._force = force
        self._form = forms.form_of(row.struct)

    def check_types(self) -> None:
        """Raises: ApiError 400 for what is no configuration of the kind."""
        found = checks.mistakes(self._config, self._form)
        if not found:
            return
        metadata = self._config.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        group_version = self._row.api_version if "/" in self._row.api_version else "/" + self._row.api_version
        place = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        words = found[0] if len(found) == 1 else "errors:\n" + "".join(f"  {one}\n" for one in found)
        raise bad_request(
            f"failed to create typed patch object ({place}; {group_version}, Kind={self._row.kind}): {words}"
        )

    def created(self) -> Any:
        """The object that comes of a configuration where there is none. Raises: ApiError 400, 409."""
        metadata = self._config.get("metadata") or {}
        if metadata.get("uid"):
            why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
            raise conflict(self._row, str(metadata.get("name", "")), why)
        return self._applied(forms.empty_of(self._row.struct), [])

    def onto(self, old: Any) -> Any:
        """The state after applying the configuration to an object. Raises: ApiError 400, 409."""
        live = ownership.tree_of(old)
        kept = old.metadata.managed_fields
        present = ownership.usable(kept)
        if not present:
            present = before_first_apply(live, forms.empty_of(self._row.struct), self._form, self._row.api_version)
        return self._applied(live, present)

    def _applied(self, live: Tree, present: list[Owner]) -> Any:
        context = self._context
        ignored = ownership.ignored_by(self._row, context.subresource, self._strategy)
        manager = context.manager
        applier = Applier(manager, self._row.api_version, context.subresource, ignored, self._form_at, self._converted)
        force = self._force
        if not force and manager == KUBECTL:
            force = self._handed_over(applier, live, present)
        time = None if context.subresource == "scale" else context.now
        new, left = applier.applied(live, self._config, present, force=force, time=time)
        if manager == KUBECTL:
            new = self._with_last_applied(new)
        new = dict(new)
        try:
            obj, _ = strict.check_tree(schema.shape_of(self._row.struct), new)
        except strict.WrongType as error:
            raise bad_request(f"failed to convert the applied object: {error}") from None
        obj.kind, obj.api_version = self._row.kind, self._row.api_version
        obj.metadata.managed_fields = owners.encoded(left)
        return obj

    def _handed_over(self, applier: Applier, live: Tree, present: list[Owner]) -> bool:
        """Whether all that an apply would take was applied by the client's kubectl before, and still is so.

        Raises: ApiError 409 with what is left.
        """
        conflicts = applier.conflicting(live, self._config, present)
        if not conflicts:
            return False
        allowed = self._last_applied(live)
        left = [(owner, field_sets.difference(taken, allowed)) for owner, taken in conflicts]
        left = [(owner, taken) for owner, taken in left if taken]
        if left:
            raise conflict_error(left)
        return True

    def _last_applied(self, live: Tree) -> FieldSet:
        text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
        try:
            before = orjson.loads(text) if text else None
        except orjson.JSONDecodeError:
            return {}
        if not isinstance(before, dict) or before.get("apiVersion") != self._row.api_version:
            return {}
        if checks.mistakes(before, self._form):
            return {}
        changed, removed = trees.changes(before, live, self._form)
        fields = trees.fields_of(before, self._form)
        return field_sets.difference(field_sets.difference(fields, changed), removed)

    def _with_last_applied(self, new: Tree) -> Tree:
        """The state with kubectl's annotation, where it has one, saying what was applied now."""
        metadata = new.get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        if not annotations.get(LAST_APPLIED):
            return new
        config = dict(self._config)
        config["metadata"] = own = dict(config.get("metadata") or {})
        own.pop("managedFields", None)
        if LAST_APPLIED in (own.get("annotations") or {}):
            own["annotations"] = {k: v for k, v in own["annotations"].items() if k != LAST_APPLIED}
        text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
        return {**new, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: text}}}

    def _form_at(self, version: str) -> Form | None:
        row = ownership.row_at(self._objects, self._row, version)
        return None if row is None else forms.form_of(row.struct)

    def _converted(self, tree: Tree, source: str, target: str) -> Tree | None:
        if source == target:
            return tree
        one = ownership.row_at(self._objects, self._row, source)
        other = ownership.row_at(self._objects, self._row, target)
        if one is None or other is None:
            return None
        try:
            return ownership.tree_of(convert_object(codec.from_tree(one.struct, tree), one, other))
        except ValueError as error:
            raise bad_request(f"failed to convert the applied object: {error}") from None


def apply_of(
    objects: Objects, row: Resource, strategy: Strategy, context: WriteContext, config: Configuration, force: bool
) -> Apply:
    """An apply whose configuration has been checked. Raises: ApiError 400."""
    config.check_kind(row)
    context.owned = True
    change = Apply(objects, row, strategy, context, config.tree, force)
    change.check_types()
    return change
