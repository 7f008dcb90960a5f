"""What a machine is given to join: a token, and the pin of the cluster's authority."""

from __future__ import annotations

import pytest

from carob.api.join_token import JoinToken, parse

PIN = "a1" * 32
BARE = "abcdef.0123456789abcdef"


def test_a_token_carries_its_pin_or_gets_it_from_elsewhere() -> None:
    whole = f"K10{PIN}::{BARE}"
    token = parse(whole + "\n")
    assert token == JoinToken("abcdef", "0123456789abcdef", PIN)
    assert str(token) == whole
    assert token.bearer == BARE
    assert parse(BARE, f"sha256:{PIN}") == token
    assert parse(BARE).pin == ""
    assert str(parse(BARE)) == BARE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not of the form"),
        ("abcdef.SECRETSECRETSECR", "not of the form"),
        (f"K10{PIN}::", "not of the form"),
        (f"K11{PIN}::{BARE}", "does not begin with K10"),
        (f"K10{PIN[1:]}::{BARE}", "no SHA-256"),
    ],
)
def test_what_is_none_is_refused_and_its_secret_not_repeated(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert "SECRET" not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)
