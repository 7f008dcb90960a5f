"""`ApiError` is `metav1.Status`: the one error of the API, raised by the server and by the client.

Branch on `reason`, never on the text. The words are upstream's, because users search for them.

Source: apimachinery `pkg/api/errors` and the recorded answers of a v1.36 API server.
"""

from __future__ import annotations

TYPE_CHECKING = False  # every command of the command line loads this module, and `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from carob.api.resources import Resource


class ApiError(Exception):
    """An answer with `status: Failure`.

    `details` is the JSON tree of `metav1.StatusDetails` (name, group, kind, uid, causes, retryAfterSeconds). None means
    that the answer has no details at all; an empty dict is written as `"details": {}`, as upstream does for some errors.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self._writes_details = details is not None
        self.headers = headers or {}
        self.warnings: Sequence[str] = ()
        """What the client is told besides."""

    def status(self) -> dict[str, Any]:
        """The `metav1.Status` tree, fields in upstream's order."""
        out: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        if self.message:
            out["message"] = self.message
        if self.reason:
            out["reason"] = self.reason
        if self.details or self._writes_details:
            out["details"] = self.details
        out["code"] = self.code
        return out

    def body(self) -> bytes:
        """The answer's JSON."""
        import orjson

        return orjson.dumps(self.status()) + b"\n"

    @classmethod
    def from_body(cls, code: int, body: bytes) -> ApiError:
        """The error that a server's answer carries; an answer that is no Status keeps its text."""
        # the standard library's decoder: a command that fails must not pay for importing a faster one
        import json

        try:
            tree = json.loads(body)
        except ValueError:
            tree = None
        if isinstance(tree, dict) and tree.get("kind") == "Status":
            return cls(tree.get("code", code), tree.get("reason", ""), tree.get("message", ""), tree.get("details"))
        text = body.decode("utf-8", "replace").strip()
        return cls(code, _REASON_OF_CODE.get(code, "InternalError"), text or f"the server answered {code}")

    def __repr__(self) -> str:
        return f"ApiError({self.code}, {self.reason!r}, {self.message!r})"


_REASON_OF_CODE = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details


def bad_request(message: str) -> ApiError:
    """400: the request itself cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: nobody we know."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_found(resource: Resource, name: str) -> ApiError:
    """404: no object of this name."""
    return ApiError(404, "NotFound", f'{resource.group_resource} "{name}" not found', _details(resource, name))


def page_not_found() -> ApiError:
    """404: no such resource or path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_supported(resource: Resource | None, verb: str) -> ApiError:
    """405: the resource exists, the verb does not."""
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, {})


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: the name is taken."""
    message = f'{resource.group_resource} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409: somebody else was faster, or a precondition does not hold."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def gone(message: str) -> ApiError:
    """410: the resourceVersion or the continue token is too old."""
    return ApiError(410, "Expired", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403 by admission: `why` says which rule."""
    message = (
        f'{resource.group_resource} "{name}" is forbidden: {why}'
        if name
        else f"{resource.group_resource} is forbidden: {why}"
    )
    return ApiError(403, "Forbidden", message, _details(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[dict[str, str]]) -> ApiError:
    """422: one cause a broken rule, each `{"reason": …, "message": …, "field": …}`, in upstream's order.

    The cause's message carries the bad value; the whole message joins `field: message`.
    """
    unique = list(dict.fromkeys(f"{c['field']}: {c['message']}" for c in causes))
    joined = unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = list(causes)
    return ApiError(422, "Invalid", f'{resource.group_kind} "{name}" is invalid: {joined}', details)


def too_many_requests(message: str, retry_after_seconds: int = 1) -> ApiError:
    """429: come back later."""
    return ApiError(
        429,
        "TooManyRequests",
        message,
        {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else None,
        {"Retry-After": str(retry_after_seconds)} if retry_after_seconds else {},
    )


def unavailable(message: str) -> ApiError:
    """503: the server cannot do it now (a full disk, a store without its quorum); nothing was changed."""
    return ApiError(503, "ServiceUnavailable", message)


def internal(message: str) -> ApiError:
    """500: our fault, never the client's."""
    text = f"Internal error occurred: {message}"
    return ApiError(500, "InternalError", text, {"causes": [{"message": message}]})
