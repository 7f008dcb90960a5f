"""kube-apiserver's flags about foreign tokens: what becomes of them, and how it is said what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from carob.apiserver.authn.jwt_issuers import kept
from carob.base.layout import Cluster
from carob.cli import authentication
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags

URL = "https://issuer.test"


def parsed(*given: str) -> Arguments:
    flags = Flags("carob up")
    authentication.add_flags(flags)
    return flags.parse(given)


def test_nothing_said_is_nothing_kept() -> None:
    assert authentication.read(parsed()) == ""


def test_flags_become_one_issuer(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    ca.write_text("PEM")
    basic = (f"--oidc-issuer-url={URL}", "--oidc-client-id=carob")
    (issuer,) = kept(authentication.read(parsed(*basic))).issuers
    assert (issuer.username_claim, issuer.username_prefix, issuer.signing_algorithms) == ("sub", f"{URL}#", ("RS256",))
    more = ("--oidc-username-claim=email", "--oidc-groups-claim=g", "--oidc-groups-prefix=x:", f"--oidc-ca-file={ca}")
    rest = ("--oidc-required-claim=a=1", "--oidc-required-claim=b=", "--oidc-signing-algs=ES256,PS512")
    (issuer,) = kept(authentication.read(parsed(*basic, *more, *rest))).issuers
    assert (issuer.username_prefix, issuer.groups_prefix, issuer.certificate_authority) == ("", "x:", "PEM")
    assert (issuer.required_claims, issuer.signing_algorithms) == ({"a": "1", "b": ""}, ("ES256", "PS512"))
    (issuer,) = kept(authentication.read(parsed(*basic, "--oidc-username-prefix=-"))).issuers
    assert issuer.username_prefix == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--oidc-client-id=x",), "must be specified together"),
        ((f"--oidc-issuer-url={URL}",), "must be specified together"),
        (("--oidc-issuer-url=http://x", "--oidc-client-id=x"), "URL scheme must be https"),
        ((f"--oidc-issuer-url={URL}", "--oidc-client-id=x", "--oidc-signing-algs=HS256"), "HS256"),
        ((f"--oidc-issuer-url={URL}", "--oidc-client-id=x", "--oidc-required-claim=x"), "is not KEY=VALUE"),
        ((f"--oidc-issuer-url={URL}", "--oidc-client-id=x", "--oidc-ca-file=/none"), "cannot read /none"),
        (("--authentication-config=/none",), "cannot read /none"),
        (("--authentication-config=/dev/null",), "no AuthenticationConfiguration"),
        (("--authentication-config=/dev/null", "--oidc-client-id=x"), "cannot be combined"),
    ],
)
def test_what_does_not_fit(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        authentication.read(parsed(*given))


def test_a_changed_file_is_put_where_a_running_server_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "authentication.yml"
    head = "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
    file.write_text(head)
    cluster = Cluster("c", str(tmp_path / "state"), str(tmp_path / "run"), str(tmp_path / "log"))
    authentication.put(cluster, authentication.read(parsed(f"--authentication-config={file}")))
    first = kept(cluster.authentication_file.read_text())
    assert (first.file, first.anonymous) == (str(file), True)
    file.write_text(head + "anonymous: {enabled: false}\n")
    authentication.put(cluster, authentication.read(parsed(f"--authentication-config={file}")))
    assert not kept(cluster.authentication_file.read_text()).anonymous
