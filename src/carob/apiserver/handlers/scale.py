"""The scale subresource of workloads: their replica count as an autoscaling/v1 Scale.

Source: upstream `pkg/registry/apps/*/storage` (`ScaleREST`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.apply import checks, forms
from carob.api.resources import Resource
from carob.api.selectors import SelectorError, from_dict, from_struct
from carob.api.status import bad_request, invalid, method_not_supported, not_found
from carob.api.types import autoscaling_v1
from carob.apiserver import bodies
from carob.apiserver.handlers import ownership, writes
from carob.apiserver.handlers.apply import Configuration
from carob.apiserver.handlers.get import form_of, warning_headers
from carob.apiserver.handlers.patch import (
    APPLY_PATCH,
    Application,
    Change,
    check_apply,
    configuration_of,
    patch_type,
)
from carob.apiserver.handlers.update import replace
from carob.apiserver.presenters import finished
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.registry.strategy import WriteContext
    from carob.apiserver.types import RequestInfo
    from carob.apiserver.watch_cache import Entry
    from carob.transport.http import Request

_SCALE = Resource("autoscaling", "v1", "Scale", "scales", stored=False)


def handle(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response | Awaitable[Response]:
    """GET, PUT or PATCH of a Scale. Raises: ApiError."""
    row = info.resource
    assert row is not None
    if info.verb == "get":
        obj = backend.objects.get(row, info.namespace, info.name)
        if obj is None:
            raise not_found(row, info.name)
        return _answer(info, request, scale_of(obj), [])
    if info.verb in ("update", "patch"):
        return _write(backend, info, request, user)
    raise method_not_supported(row, info.verb)


def scale_of(obj: Any) -> autoscaling_v1.Scale:
    """The Scale of a workload."""
    scale = autoscaling_v1.Scale()
    for name in ("name", "namespace", "uid", "resource_version", "creation_timestamp"):
        setattr(scale.metadata, name, getattr(obj.metadata, name))
    scale.spec.replicas = obj.spec.replicas or 0
    scale.status.replicas = obj.status.replicas
    selector = obj.spec.selector
    try:
        found = from_dict(selector or {}) if isinstance(selector, dict | None) else from_struct(selector)
        scale.status.selector = str(found)
    except SelectorError:
        scale.status.selector = ""
    return scale


async def _write(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    row = info.resource
    assert row is not None
    patched = info.verb == "patch"
    dry_run = writes.check_options(info, "PatchOptions" if patched else "UpdateOptions")
    context = writes.context_of(
        backend, row, info.namespace, user, dry_run, "scale", ownership.manager_of(info, request)
    )
    change: Change | Application | None = None
    if patched:
        kind = patch_type(row, request)
        check_apply(info, kind)
        if kind == APPLY_PATCH:
            change = _application(backend, info, context, configuration_of(request))
        else:
            change = Change(_SCALE, kind, bodies.text_of(request), bodies.validation_of(info))
        body = b""
    else:
        sent, context.warnings[:] = bodies.decode_as(autoscaling_v1.Scale, "autoscaling", info, request)
        body = codec.encode(sent)

    def desired(old: Any, entry: Entry) -> tuple[Any, bool]:
        if isinstance(change, Application):
            new = change.applied(old, context.warnings)
            named = writes.check_version(row, backend.strategies.of(row), new.metadata, entry)
            return new, named and change.names_version
        if change is not None:
            scale = change.applied(scale_of(old), context.warnings)
        else:
            scale = codec.decode(autoscaling_v1.Scale, body)
        _check(scale, info)
        named = writes.check_version(row, backend.strategies.of(row), scale.metadata, entry)
        writes.check_uid(row, scale.metadata.uid, old.metadata.uid, entry.name, entry.namespace)
        new = codec.decode(row.struct, codec.encode(old))
        new.spec.replicas = scale.spec.replicas
        return new, named and (change is None or change.names_version)

    entry = await replace(backend, info, user, context, desired, backend.strategies.of(row).prepare_update)
    return _answer(info, request, scale_of(backend.objects.fresh(row, entry)), context.warnings)


def _application(backend: Backend, info: RequestInfo, context: WriteContext, sent: Configuration) -> Application:
    """An apply of a Scale as one of the workload: its replica count alone. Raises: ApiError 400, 422."""
    sent.check_kind(_SCALE)
    wrong = checks.mistakes(sent.tree, forms.form_of(autoscaling_v1.Scale))
    if wrong:
        raise bad_request(f"failed to create typed patch object: {wrong[0]}")
    scale = codec.from_tree(autoscaling_v1.Scale, sent.tree)
    _check(scale, info)
    replicas = (sent.tree.get("spec") or {}).get("replicas")
    metadata = {key: value for key, value in sent.metadata.items() if key in ("uid", "resourceVersion")}
    row = context.row
    tree: dict[str, Any] = {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata}
    if replicas is not None:
        tree["spec"] = {"replicas": replicas}
    config = Configuration(orjson.dumps(tree))
    context.warnings += sent.complaints(bodies.validation_of(info))
    return Application(backend, info, context, config, bodies.validation_of(info))


def _check(scale: autoscaling_v1.Scale, info: RequestInfo) -> None:
    name = scale.metadata.name
    if name and name != info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({info.name})")
    if scale.metadata.namespace and scale.metadata.namespace != info.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if scale.spec.replicas < 0:
        why = f"Invalid value: {scale.spec.replicas}: must be greater than or equal to 0"
        raise invalid(_SCALE, info.name, [{"reason": "FieldValueInvalid", "message": why, "field": "spec.replicas"}])


def _answer(info: RequestInfo, request: Request, scale: autoscaling_v1.Scale, warnings: list[str]) -> Response:
    form = form_of(info, request)
    response = Response(200, finished(form, codec.encode(scale)), form.media)
    response.headers.extend(warning_headers(warnings))
    return response
