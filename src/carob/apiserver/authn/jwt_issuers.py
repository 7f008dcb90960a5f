"""Whose JSON web tokens are believed, and what in them says who somebody is: plain values and the file they come from.

Shape: an `AuthenticationConfiguration` (apiserver.config.k8s.io/v1, v1beta1, v1alpha1) as YAML or JSON. What carob keeps with
a cluster's state is `AuthenticationRules` as JSON.

Source: kubernetes `pkg/apis/apiserver/validation`, KEP-3331; the flags `--oidc-…` for those who have no file.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

ASYMMETRIC = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
_VERSIONS = frozenset(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
MAX_ISSUERS = 64


CLAIMS, USER = "claims", "user"
_BOTH = 'Invalid value: "": claim and expression can\'t both be set'
_EMAIL, _VERIFIED = re.compile(r"\bclaims\.email\b"), re.compile(r"\bclaims\.\??email_verified\b")
_EXTRA_KEY = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[-a-z0-9_./~]+")
_RESERVED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")


class ConfigError(ValueError):
    """What is wrong with a configuration: the field's path and upstream's words."""


class JwtIssuer(msgspec.Struct, frozen=True):
    """One issuer of tokens."""

    url: str
    """`iss` of its tokens, letter by letter; below it lies the discovery document, unless `discovery_url` says otherwise."""
    audiences: tuple[str, ...]
    """One of them must be among the token's `aud`."""
    discovery_url: str = ""
    certificate_authority: str = ""
    """PEM of who signs the issuer's certificate; empty: the machine's own trust store."""
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    uid_claim: str = ""
    required_claims: dict[str, str] = {}
    signing_algorithms: tuple[str, ...] = ASYMMETRIC
    username_expression: str = ""
    """In place of a claim; the like for groups and uid."""
    groups_expression: str = ""
    uid_expression: str = ""
    extra_expressions: tuple[tuple[str, str], ...] = ()
    """Key and expression of what else is known of the user."""
    claim_rules: tuple[tuple[str, str], ...] = ()
    """Expressions over the claims that must be true, each with what is said where it is not."""
    user_rules: tuple[tuple[str, str], ...] = ()
    """The same over the user."""


class AuthenticationRules(msgspec.Struct, frozen=True):
    """All that a configuration says."""

    issuers: tuple[JwtIssuer, ...] = ()
    anonymous: bool = True
    """Whether somebody without credentials is the anonymous user; otherwise that is a 401."""
    anonymous_paths: tuple[str, ...] = ()
    """The only paths for the anonymous; empty: all."""
    file: str = ""
    """Where they come from, to be read again; empty: from flags."""


USUAL = AuthenticationRules()


def keep(rules: AuthenticationRules) -> str:
    """The rules as text that `kept` reads."""
    return msgspec.json.encode(rules).decode()


def kept(text: str) -> AuthenticationRules:
    """The rules that `keep` wrote. Raises: msgspec.DecodeError."""
    return msgspec.json.decode(text, type=AuthenticationRules)


def load(text: str, own_issuer: str = "") -> AuthenticationRules:
    """The rules of an AuthenticationConfiguration. `own_issuer`: of service-account tokens; nobody else may be it.

    Raises: ConfigError that names every faulty field.
    """
    import yaml

    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {error}") from error
    if not isinstance(tree, dict) or tree.get("kind") != "AuthenticationConfiguration":
        raise ConfigError("this is no AuthenticationConfiguration")
    if tree.get("apiVersion") not in _VERSIONS:
        raise ConfigError(f"apiVersion: must be one of {', '.join(sorted(_VERSIONS))}")
    reading = _Reading()
    reading.known(tree, "", ("kind", "apiVersion", "jwt", "anonymous"))
    entries = reading.items(tree, "", "jwt")
    issuers = tuple(reading.issuer(entry, f"jwt[{number}]") for number, entry in enumerate(entries[:MAX_ISSUERS]))
    if len(entries) > MAX_ISSUERS:
        reading.wrong("jwt", f"Too many: {len(entries)}: must have at most {MAX_ISSUERS} items")
    for number, issuer in enumerate(issuers):
        if issuer.url and issuer.url in [other.url for other in issuers[:number]]:
            reading.wrong(f"jwt[{number}].issuer.url", f'Duplicate value: "{issuer.url}"')
        if issuer.url and issuer.url == own_issuer:
            reading.wrong(f"jwt[{number}].issuer.url", f'Invalid value: "{issuer.url}": URL must not overlap with disallowed issuers: [{own_issuer}]')  # fmt: skip
    anonymous = reading.mapping(tree, "", "anonymous")
    reading.known(anonymous, "anonymous", ("enabled", "conditions"))
    enabled = anonymous.get("enabled", "anonymous" not in tree)
    paths = tuple(
        reading.text(condition, f"anonymous.conditions[{number}]", "path")
        for number, condition in enumerate(reading.items(anonymous, "anonymous", "conditions"))
    )
    if paths and not enabled:
        reading.wrong(
            "anonymous.conditions", "Invalid value: enabled should be set to true when conditions are defined"
        )
    reading.finish()
    return AuthenticationRules(issuers, bool(enabled), paths)


def check_url(url: str) -> str:
    """Why it is no issuer's URL, in upstream's words; empty if it is one."""
    if not url:
        return "Required value: URL is required"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f'Invalid value: "{url}": {error}'
    if parts.scheme != "https":
        return f'Invalid value: "{url}": URL scheme must be https'
    if not parts.hostname:
        return f'Invalid value: "{url}": URL has no host'
    for word, there in (
        ("a username or password", parts.username is not None),
        ("a query", bool(parts.query)),
        ("a fragment", bool(parts.fragment)),
    ):
        if there:
            return f'Invalid value: "{url}": URL must not contain {word}'
    return ""


class _Reading:
    """Reads fields, and keeps what is wrong with them."""

    def __init__(self) -> None:
        self._faults: list[str] = []

    def wrong(self, field: str, why: str) -> None:
        self._faults.append(f"{field}: {why}")

    def finish(self) -> None:
        if self._faults:
            raise ConfigError("; ".join(self._faults))

    def known(self, tree: dict[str, Any], path: str, names: tuple[str, ...]) -> None:
        for name in tree:
            if name not in names:
                self.wrong(f"{path}.{name}".lstrip("."), "unknown field")

    def _typed(self, tree: Any, path: str, name: str, kind: type[Any], words: str) -> Any:
        value = tree.get(name) if isinstance(tree, dict) else None
        if value is None:
            return kind()
        if not isinstance(value, kind):
            self.wrong(f"{path}.{name}".lstrip("."), f"Invalid value: must be {words}")
            return kind()
        return value

    def text(self, tree: Any, path: str, name: str) -> str:
        return str(self._typed(tree, path, name, str, "a string"))

    def mapping(self, tree: Any, path: str, name: str) -> dict[str, Any]:
        return dict(self._typed(tree, path, name, dict, "an object"))

    def items(self, tree: Any, path: str, name: str) -> list[Any]:
        return list(self._typed(tree, path, name, list, "a list"))

    def issuer(self, entry: Any, path: str) -> JwtIssuer:
        if not isinstance(entry, dict):
            self.wrong(path, "Invalid value: must be an object")
            entry = {}
        self.known(entry, path, ("issuer", "claimValidationRules", "claimMappings", "userValidationRules"))
        issuer = self.mapping(entry, path, "issuer")
        at = f"{path}.issuer"
        self.known(issuer, at, ("url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType"))  # fmt: skip
        url, discovery = self.text(issuer, at, "url"), self.text(issuer, at, "discoveryURL")
        if why := check_url(url):
            self.wrong(f"{at}.url", why)
        if discovery and (why := check_url(discovery)):
            self.wrong(f"{at}.discoveryURL", why)
        if discovery and discovery.rstrip("/") == url.rstrip("/"):
            self.wrong(f"{at}.discoveryURL", f'Invalid value: "{discovery}": discoveryURL must be different from URL')
        audiences = tuple(str(one) for one in self.items(issuer, at, "audiences"))
        if not audiences or "" in audiences:
            self.wrong(f"{at}.audiences", "Required value: audience can't be empty")
        policy = self.text(issuer, at, "audienceMatchPolicy")
        if policy not in ("", "MatchAny") or (len(audiences) > 1 and not policy):
            self.wrong(f"{at}.audienceMatchPolicy", f'Invalid value: "{policy}": audienceMatchPolicy must be MatchAny for multiple audiences')  # fmt: skip
        authority = self.text(issuer, at, "certificateAuthority")
        if authority and "-----BEGIN CERTIFICATE-----" not in authority:
            self.wrong(f"{at}.certificateAuthority", "Invalid value: data does not contain any valid RSA or ECDSA certificates")  # fmt: skip
        required, claim_rules = self._required(entry, path)
        username, username_prefix, username_expression = self._mapped(entry, path, "username", needed=True)
        groups, groups_prefix, groups_expression = self._mapped(entry, path, "groups", needed=False)
        mappings = self.mapping(entry, path, "claimMappings")
        extra = self._extra(mappings, f"{path}.claimMappings")
        uid = self.mapping(mappings, f"{path}.claimMappings", "uid")
        at_uid = f"{path}.claimMappings.uid"
        uid_expression = self._expression(uid, at_uid, "expression", CLAIMS, "string")
        if uid_expression and uid.get("claim"):
            self.wrong(at_uid, _BOTH)
        used = (username_expression, *(text for _, text in (*extra, *claim_rules)), *(text for text, _ in claim_rules))
        if _EMAIL.search(username_expression) and not any(_VERIFIED.search(text) for text in used):
            self.wrong(f"{path}.claimMappings.username.expression", f'Invalid value: "{username_expression}": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression')  # fmt: skip
        return JwtIssuer(
            username_expression=username_expression,
            groups_expression=groups_expression,
            uid_expression=uid_expression,
            extra_expressions=extra,
            claim_rules=claim_rules,
            user_rules=self._user_rules(entry, path),
            url=url,
            audiences=audiences,
            discovery_url=discovery,
            certificate_authority=authority,
            username_claim=username,
            username_prefix=username_prefix,
            groups_claim=groups,
            groups_prefix=groups_prefix,
            uid_claim=self.text(uid, at_uid, "claim"),
            required_claims=required,
        )

    def _required(self, entry: dict[str, Any], path: str) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
        found: dict[str, str] = {}
        rules: list[tuple[str, str]] = []
        for number, rule in enumerate(self.items(entry, path, "claimValidationRules")):
            at = f"{path}.claimValidationRules[{number}]"
            claim = self.text(rule, at, "claim")
            expression = self._expression(rule, at, "expression", CLAIMS, "bool")
            if claim and expression:
                self.wrong(at, _BOTH)
            elif expression:
                rules.append((expression, self.text(rule, at, "message")))
            elif not claim:
                self.wrong(at, "Required value: claim or expression is required")
            else:
                if claim in found:
                    self.wrong(f"{at}.claim", f'Duplicate value: "{claim}"')
                found[claim] = self.text(rule, at, "requiredValue")
        return found, tuple(rules)

    def _user_rules(self, entry: dict[str, Any], path: str) -> tuple[tuple[str, str], ...]:
        rules = []
        for number, rule in enumerate(self.items(entry, path, "userValidationRules")):
            at = f"{path}.userValidationRules[{number}]"
            expression = self._expression(rule, at, "expression", USER, "bool")
            if not expression:
                self.wrong(f"{at}.expression", "Required value: expression is required")
            rules.append((expression, self.text(rule, at, "message")))
        return tuple(rules)

    def _extra(self, mappings: dict[str, Any], path: str) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        for number, one in enumerate(self.items(mappings, path, "extra")):
            at = f"{path}.extra[{number}]"
            key = self.text(one, at, "key")
            expression = self._expression(one, at, "valueExpression", CLAIMS, "list")
            if not key:
                self.wrong(f"{at}.key", "Required value")
            elif not _EXTRA_KEY.fullmatch(key):
                self.wrong(
                    f"{at}.key", f'Invalid value: "{key}": must be a domain-prefixed path (such as "acme.io/foo")'
                )
            elif _RESERVED.search(key.partition("/")[0]):
                self.wrong(f"{at}.key", f'Invalid value: "{key}": k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use')  # fmt: skip
            elif key in (known for known, _ in found):
                self.wrong(f"{at}.key", f'Duplicate value: "{key}"')
            if not expression:
                self.wrong(f"{at}.valueExpression", "Required value: valueExpression is required")
            found.append((key, expression))
        return tuple(found)

    def _mapped(self, entry: dict[str, Any], path: str, name: str, *, needed: bool) -> tuple[str, str, str]:
        at = f"{path}.claimMappings.{name}"
        mapping = self.mapping(self.mapping(entry, path, "claimMappings"), f"{path}.claimMappings", name)
        kind = "string" if name == "username" else "list"
        expression = self._expression(mapping, at, "expression", CLAIMS, kind)
        claim = self.text(mapping, at, "claim")
        if claim and expression:
            self.wrong(at, _BOTH)
        if needed and not claim and not expression:
            self.wrong(at, "Required value: claim or expression is required")
        if claim and "prefix" not in mapping:
            self.wrong(f"{at}.prefix", "Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing")  # fmt: skip
        if expression and mapping.get("prefix"):
            why = "prefix can't be set when expression is set"
            self.wrong(f"{at}.prefix", f'Invalid value: "{mapping["prefix"]}": {why}')
        elif not claim and mapping.get("prefix"):
            self.wrong(f"{at}.claim", "Required value: non-empty claim name is required when prefix is set")
        return claim, self.text(mapping, at, "prefix"), expression

    def _expression(self, tree: Any, path: str, name: str, variable: str, wanted: str) -> str:
        """An expression that can be used; an empty text where there is none."""
        text = self.text(tree, path, name)
        if text:
            from carob.apiserver.authn.claim_expressions import fault

            if why := fault(text, variable, wanted):
                self.wrong(f"{path}.{name}", f'Invalid value: "{text}": {why}')
        return text
