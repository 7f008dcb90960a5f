"""What upstream adds to the language of expressions (CEL): types and functions, by their signatures.

This is for checks; what the functions do is in the modules beside this one. Types are written as upstream writes them.
Source: `k8s.io/apiserver/pkg/cel/library`, cel-go `ext/{strings,lists,sets}.go`.
"""

from __future__ import annotations

AUTHORIZER = "kubernetes.authorization.Authorizer"
RESOURCE_CHECK = "kubernetes.authorization.ResourceCheck"
_GROUP_CHECK = "kubernetes.authorization.GroupCheck"
_PATH_CHECK = "kubernetes.authorization.PathCheck"
_DECISION = "kubernetes.authorization.Decision"
_QUANTITY, _SEMVER, _URL = "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.URL"
_IP, _CIDR, _FORMAT = "net.IP", "net.CIDR", "kubernetes.NamedFormat"
_COMPARABLE = (
    "int",
    "uint",
    "double",
    "bool",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "string",
    "bytes",
)
_SUMMABLE = ("int", "uint", "double", "google.protobuf.Duration")
_ANY_LIST = "list(dyn)"
# types of one capital letter may be any, the same one throughout a line; a member is written as
# `receiver::name(arguments) -> result`, any other as `name(arguments) -> result`
_SIGNATURES = f"""
list(string)::join() -> string
list(string)::join(string) -> string
string::charAt(int) -> string
string::format({_ANY_LIST}) -> string
string::lowerAscii() -> string
string::upperAscii() -> string
string::trim() -> string
string::replace(string, string) -> string
string::replace(string, string, int) -> string
string::split(string) -> list(string)
string::split(string, int) -> list(string)
string::substring(int) -> string
string::substring(int, int) -> string
string::indexOf(string) -> int
string::indexOf(string, int) -> int
string::lastIndexOf(string) -> int
string::lastIndexOf(string, int) -> int
string::reverse() -> string
strings.quote(string) -> string
string::find(string) -> string
string::findAll(string) -> list(string)
string::findAll(string, int) -> list(string)
list(A)::indexOf(A) -> int
list(A)::lastIndexOf(A) -> int
list(A)::reverse() -> list(A)
list(A)::slice(int, int) -> list(A)
{_ANY_LIST}::flatten() -> {_ANY_LIST}
{_ANY_LIST}::flatten(int) -> {_ANY_LIST}
list(A)::distinct() -> list(A)
list(A)::sort() -> list(A)
lists.range(int) -> list(int)
sets.contains(list(A), list(A)) -> bool
sets.equivalent(list(A), list(A)) -> bool
sets.intersects(list(A), list(A)) -> bool
url(string) -> {_URL}
isURL(string) -> bool
{_URL}::getScheme() -> string
{_URL}::getHost() -> string
{_URL}::getHostname() -> string
{_URL}::getPort() -> string
{_URL}::getEscapedPath() -> string
{_URL}::getQuery() -> map(string, list(string))
quantity(string) -> {_QUANTITY}
isQuantity(string) -> bool
{_QUANTITY}::sign() -> int
{_QUANTITY}::isInteger() -> bool
{_QUANTITY}::asInteger() -> int
{_QUANTITY}::asApproximateFloat() -> double
{_QUANTITY}::add({_QUANTITY}) -> {_QUANTITY}
{_QUANTITY}::add(int) -> {_QUANTITY}
{_QUANTITY}::sub({_QUANTITY}) -> {_QUANTITY}
{_QUANTITY}::sub(int) -> {_QUANTITY}
{_QUANTITY}::isGreaterThan({_QUANTITY}) -> bool
{_QUANTITY}::isLessThan({_QUANTITY}) -> bool
{_QUANTITY}::compareTo({_QUANTITY}) -> int
semver(string) -> {_SEMVER}
semver(string, bool) -> {_SEMVER}
isSemver(string) -> bool
isSemver(string, bool) -> bool
{_SEMVER}::major() -> int
{_SEMVER}::minor() -> int
{_SEMVER}::patch() -> int
{_SEMVER}::isGreaterThan({_SEMVER}) -> bool
{_SEMVER}::isLessThan({_SEMVER}) -> bool
{_SEMVER}::compareTo({_SEMVER}) -> int
ip(string) -> {_IP}
isIP(string) -> bool
ip.isCanonical(string) -> bool
{_IP}::family() -> int
{_IP}::isUnspecified() -> bool
{_IP}::isLoopback() -> bool
{_IP}::isLinkLocalMulticast() -> bool
{_IP}::isLinkLocalUnicast() -> bool
{_IP}::isGlobalUnicast() -> bool
cidr(string) -> {_CIDR}
isCIDR(string) -> bool
{_CIDR}::containsIP(string) -> bool
{_CIDR}::containsIP({_IP}) -> bool
{_CIDR}::containsCIDR(string) -> bool
{_CIDR}::containsCIDR({_CIDR}) -> bool
{_CIDR}::ip() -> {_IP}
{_CIDR}::masked() -> {_CIDR}
{_CIDR}::prefixLength() -> int
format.named(string) -> optional_type({_FORMAT})
{_FORMAT}::validate(string) -> optional_type(list(string))
jsonpatch.escapeKey(string) -> string
{AUTHORIZER}::path(string) -> {_PATH_CHECK}
{AUTHORIZER}::group(string) -> {_GROUP_CHECK}
{AUTHORIZER}::serviceAccount(string, string) -> {AUTHORIZER}
{_GROUP_CHECK}::resource(string) -> {RESOURCE_CHECK}
{RESOURCE_CHECK}::subresource(string) -> {RESOURCE_CHECK}
{RESOURCE_CHECK}::namespace(string) -> {RESOURCE_CHECK}
{RESOURCE_CHECK}::name(string) -> {RESOURCE_CHECK}
{RESOURCE_CHECK}::fieldSelector(string) -> {RESOURCE_CHECK}
{RESOURCE_CHECK}::labelSelector(string) -> {RESOURCE_CHECK}
{_PATH_CHECK}::check(string) -> {_DECISION}
{RESOURCE_CHECK}::check(string) -> {_DECISION}
{_DECISION}::allowed() -> bool
{_DECISION}::reason() -> string
{_DECISION}::errored() -> bool
{_DECISION}::error() -> string
"""
_FORMATS = (
    "dns1123Label dns1123Subdomain dns1035Label qualifiedName dns1123LabelPrefix dns1123SubdomainPrefix "
    "dns1035LabelPrefix labelValue uri uuid byte date datetime"
)


def lines() -> list[str]:
    """All signatures as they are written above."""
    return [*_SIGNATURES.strip().split("\n"), *_repeated()]


def _repeated() -> list[str]:
    """Signatures that differ in a name or in a type alone."""
    lines = [f"format.{name}() -> {_FORMAT}" for name in _FORMATS.split()]
    for kind in _COMPARABLE:
        lines += [
            f"list({kind})::isSorted() -> bool",
            f"list({kind})::min() -> {kind}",
            f"list({kind})::max() -> {kind}",
        ]
    lines += [f"list({kind})::sum() -> {kind}" for kind in _SUMMABLE]
    return lines
