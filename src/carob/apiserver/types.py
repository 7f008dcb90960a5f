"""What the rooms of the API server share: the parsed request, and what admission sees."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource
    from carob.api.user import UserInfo


class AuditTrail(Struct):
    """What the parts of a request tell the audit log besides what it sees itself."""

    annotations: dict[str, str] = field(default_factory=dict)
    impersonated: UserInfo | None = None
    allowed: bool = False
    """Whether authorization let the request pass."""


class RequestInfo(Struct):
    """A request as authorization and the handlers see it.

    Shape: `verb` is get, list, watch, create, update, patch, delete or deletecollection for resources, and the
    lower-case HTTP method otherwise; `query` holds decoded values, in order, per name.
    Source: apiserver `request.RequestInfo`.
    """

    verb: str
    path: str
    resource: Resource | None = None
    """The row behind the path; None for paths that are no resource."""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)
    beyond: int = 0
    """How many parts the path has that name nothing: behind the subresource, or empty ones."""

    trail: AuditTrail | None = None
    """Where to tell the audit log; None where there is none, or it does not want to know of this request."""

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default


class Operation(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class Reinvocation:
    """Whether mutating plugins are called once more, because what came after some of them changed the object.

    Source: apiserver `pkg/admission/reinvocation.go`, `plugin/policy/mutating/reinvocationcontext.go`.
    """

    __slots__ = ("again", "invoked", "output", "running", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.running = False
        self.output: bytes | None = None
        """The object as the policies left it."""
        self.invoked: set[tuple[str, ...]] = set()
        self.again: set[tuple[str, ...]] = set()

    def require(self) -> None:
        """Whoever was asked so far, and may be asked again, is."""
        self.again |= self.invoked
        self.invoked = set()


class Attributes(Struct):
    """One write on its way through admission.

    Shape: `obj` and `old` are Structs of the resource (trees for custom resources, the Struct of the subresource's
    kind for `binding`, `eviction`, `token`, `scale`); `obj` is None for a deletion. Mutating plugins change `obj`.
    """

    operation: Operation
    resource: Resource
    namespace: str
    name: str
    user: UserInfo
    obj: Any
    old: Any = None
    subresource: str = ""
    dry_run: bool = False
    options: Any = None
    warnings: list[str] = field(default_factory=list)
    """Texts for `Warning: 299` headers."""
    changed_fields: list[str] = field(default_factory=list)
    annotations: dict[str, str] | None = None
    """Of the audit log's event; None where nobody keeps one."""
    query: dict[str, list[str]] | None = None
    """Of the request: its options."""
    reinvocation: Reinvocation | None = None


class Reader(Protocol):
    """Present state, read at once from the watch cache."""

    def get(self, resource: Resource, namespace: str, name: str) -> Any | None:
        """The Struct of one object, not to be changed; None if there is none."""
        ...

    def list(self, resource: Resource, namespace: str = "") -> list[Any]:
        """The Structs of a namespace, or of all."""
        ...

    def on_change(self, resource: Resource, callback: Callable[[str, str], None]) -> None:
        """Call `callback(namespace, name)` after each write of an object of `resource`, once the reader shows it.

        The callback must not block and must not raise. There is no call for what exists already.
        """
        ...


class AdmissionPlugin(Protocol):
    """A rule about writes. `admit` may change `attributes.obj`; `validate` sees the final object.

    Both raise ApiError (usually 403 Forbidden) to refuse. They must not wait: what they need is in the watch cache.
    """

    name: str

    def admit(self, attributes: Attributes) -> None: ...

    def validate(self, attributes: Attributes) -> None: ...


class Admission(Protocol):
    """The chain of all plugins: every `admit` in order, then (after defaulting and validation) every `validate`."""

    def admit(self, attributes: Attributes) -> None: ...

    def validate(self, attributes: Attributes) -> None: ...
