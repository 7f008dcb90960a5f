"""Whose tokens the API server believes, for `carob up` and `carob server`: checked before anything starts, kept with the state."""

from __future__ import annotations

from pathlib import Path

from carob.cli import clusters
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster
    from carob.cli.flags import Arguments, Flags

_FLAGS = (
    ("oidc-issuer-url", "URL", "an OpenID Connect issuer whose tokens are believed; https"),
    ("oidc-client-id", "ID", "the audience that its tokens must have"),
    ("oidc-username-claim", "CLAIM", "the claim that is the user's name (default: sub)"),
    ("oidc-username-prefix", "PREFIX", "in front of user names; - for none (default: the issuer's URL and #)"),
    ("oidc-groups-claim", "CLAIM", "the claim that holds the user's groups"),
    ("oidc-groups-prefix", "PREFIX", "in front of groups"),
    ("oidc-ca-file", "FILE", "who signs the issuer's certificate (default: the machine's trust store)"),
)


def add_flags(flags: Flags) -> None:
    """kube-apiserver's."""
    flags.text(
        "authentication-config", meta="FILE", help="an AuthenticationConfiguration: issuers of tokens, anonymous"
    )
    for name, meta, text in _FLAGS:
        flags.text(name, meta=meta, help=text)
    flags.texts("oidc-required-claim", meta="KEY=VALUE", help="a claim that must have this value; may be repeated")
    flags.csv("oidc-signing-algs", meta="ALG,...", help="accepted algorithms (default: RS256)")


def read(arguments: Arguments) -> str:
    """The rules as the server reads them; empty where no flag speaks of them. Raises: CommandError."""
    oidc = [name for name in sorted(arguments.changed) if name.startswith("oidc-")]
    file = arguments.authentication_config
    if file and oidc:
        raise CommandError("error: --authentication-config and --oidc-* flags cannot be combined")
    if oidc:
        return _of_flags(arguments)
    if not file:
        return ""
    from msgspec.structs import replace

    from carob.apiserver.authn.jwt_issuers import ConfigError, keep, load
    from carob.apiserver.options import ApiServerOptions

    try:
        rules = load(Path(file).read_text(), ApiServerOptions.issuer)
        return keep(replace(rules, file=str(Path(file).absolute())))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"error: --authentication-config: cannot read {file}: {error}") from error
    except ConfigError as error:
        raise CommandError(f"error: --authentication-config: {file}: {error}") from error


def _of_flags(arguments: Arguments) -> str:
    from carob.apiserver.authn.jwt_issuers import ASYMMETRIC, AuthenticationRules, JwtIssuer, check_url, keep

    url, client = arguments.oidc_issuer_url, arguments.oidc_client_id
    if not url or not client:
        raise CommandError("error: --oidc-issuer-url and --oidc-client-id must be specified together")
    if why := check_url(url):
        raise CommandError(f"error: --oidc-issuer-url: {why}")
    claim = arguments.oidc_username_claim or "sub"
    prefix = arguments.oidc_username_prefix
    if not prefix and claim != "email":
        prefix = f"{url}#"
    algorithms = tuple(arguments.oidc_signing_algs or ("RS256",))
    for algorithm in algorithms:
        if algorithm not in ASYMMETRIC:
            raise CommandError(f'error: --oidc-signing-algs: "{algorithm}" is none of {", ".join(ASYMMETRIC)}')
    required: dict[str, str] = {}
    for text in arguments.oidc_required_claim:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CommandError(f'error: --oidc-required-claim: "{text}" is not KEY=VALUE')
        required[key] = value
    authority = ""
    if arguments.oidc_ca_file:
        try:
            authority = Path(arguments.oidc_ca_file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"error: --oidc-ca-file: cannot read {arguments.oidc_ca_file}: {error}") from error
    issuer = JwtIssuer(
        url=url,
        audiences=(client,),
        certificate_authority=authority,
        username_claim=claim,
        username_prefix="" if prefix == "-" else prefix,
        groups_claim=arguments.oidc_groups_claim,
        groups_prefix=arguments.oidc_groups_prefix,
        required_claims=required,
        signing_algorithms=algorithms,
    )
    return keep(AuthenticationRules((issuer,)))


def put(cluster: Cluster, text: str) -> None:
    """Write it where the server finds it. Raises: CommandError when a server runs with other rules."""
    place = cluster.authentication_file
    if text and place.exists():
        from carob.apiserver.authn.jwt_issuers import kept

        file = kept(text).file
        if file and file == kept(place.read_text()).file:
            place.write_text(text)  # a server that runs reads it, too
            return
    clusters.keep_for_server(cluster, place, text, "authentication")
