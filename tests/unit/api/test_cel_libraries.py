"""What upstream adds to CEL: lists, regular expressions, URLs, addresses, formats; as its own tests have it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carob.api.cel import linear_regex
from carob.api.cel.evaluation import Program, Run
from carob.api.cel.inference import checked
from carob.api.cel.types import named
from carob.api.cel.values import CelError


def answer(text: str) -> Any:
    checked(text, {"claims": named("map(string, dyn)")})
    return Program(text).run(Run({"claims": {"a": [3, 1, 2], "none": [], "s": ["b", "a"]}}))


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("claims.a.sum() + [1.5, 2.5].size()", 8),
        ("[1.5, 2.5].sum()", 4.0),
        ("[].sum()", 0),
        ("claims.a.max() - [4, 2].min()", 1),
        ("['b', 'a'].max()", "b"),
        ("[1, 2, 2].isSorted() && !claims.s.isSorted() && [].isSorted()", True),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", 2),
        ("dyn([true]).indexOf(1)", -1),
        ("'abc'.indexOf('c')", 2),
        ("'abc 123 def 45'.find('[0-9]+')", "123"),
        ("'abc'.find('[0-9]+')", ""),
        ("'1 2 3'.findAll('[0-9]')", ["1", "2", "3"]),
        ("'1 2 3'.findAll('[0-9]', 2)", ["1", "2"]),
        ("'1 2 3'.findAll('[0-9]', 0)", []),
        ("url('https://user@example.com:80/a%20b?k=1&k=2').getHost()", "example.com:80"),
        ("url('https://example.com:80/').getHostname() + url('https://[::1]:80/').getPort()", "example.com80"),
        ("url('https://example.com/a%20b').getEscapedPath() + url('/x').getScheme()", "/a%20b"),
        ("url('/x?k=1&k=2&b').getQuery()", {"k": ["1", "2"], "b": [""]}),
        ("isURL('https://a') && isURL('/a') && !isURL('../a') && !isURL('https://a:b/')", True),
        ("ip('192.168.0.1').family() + ip('::1').family()", 10),
        ("ip('10.0.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()", True),
        ("ip('::1').isLoopback() && ip('0.0.0.0').isUnspecified()", True),
        ("ip('169.254.1.1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast()", True),
        ("ip('ff02::1').isLinkLocalMulticast() && !ip('ff05::1').isLinkLocalMulticast()", True),
        ("ip('2001:DB8::1') == ip('2001:db8:0::1')", True),
        ("string(ip('2001:DB8::1')) + string(3)", "2001:db8::13"),
        ("ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1')", True),
        ("isIP('1.2.3') || isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0')", False),
        ("cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsIP(ip('10.1.1.2'))", True),
        ("cidr('10.0.0.0/8').containsCIDR('10.0.0.0/16') && !cidr('10.0.0.0/8').containsCIDR(cidr('::/64'))", True),
        ("string(cidr('10.1.2.3/8').masked()) + string(cidr('10.1.2.3/8').ip())", "10.0.0.0/810.1.2.3"),
        ("cidr('10.1.2.3/8').prefixLength()", 8),
        ("isCIDR('10.0.0.0') || isCIDR('10.0.0.0/255.0.0.0') || isCIDR('10.0.0.0/33')", False),
        ("!format.dns1123Label().validate('my-name').hasValue()", True),
        ("format.named('dns1123Label').value().validate('my.name').hasValue()", True),
        ("!format.dns1123LabelPrefix().validate('my-').hasValue()", True),
        ("format.uuid().validate('x').value()", ["does not match the UUID format"]),
        ("format.byte().validate('a===').hasValue() && !format.byte().validate('YQ==').hasValue()", True),
        ("!format.date().validate('2026-02-28').hasValue() && format.date().validate('2026-2-30').hasValue()", True),
        ("!format.datetime().validate('2026-01-01T00:00:00Z').hasValue()", True),
        ("!format.uri().validate('https://a').hasValue() && format.uri().validate('a b').hasValue()", True),
        ("optional.of(1).hasValue()", True),
        ("quantity('1Gi').compareTo(quantity('1Mi')) + semver('1.2.3').minor()", 3),
    ],
)
def test_what_expressions_mean(expression: str, wanted: Any) -> None:
    assert answer(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("claims.none.min()", "min called on empty list"),
        ("dyn(['a']).sum()", "no such overload"),
        ("'a'.find('(')", "error parsing regexp"),
        ("'a'.find('(a)\\\\1')", "is not supported"),
        ("'a'.find('(?=a)')", "is not supported"),
        ("'a'.find('(a{1000}){1000}')", "too large"),
        ("ip('x')", "parse error"),
        ("cidr('10.0.0.0')", "parse error"),
        ("url('../a')", "invalid URI"),
        ("format.named('x').value()", "dereference"),
    ],
)
def test_what_has_no_answer(expression: str, why: str) -> None:
    with pytest.raises(CelError, match=why):
        answer(expression)


def test_a_pattern_cannot_keep_the_server_busy() -> None:
    """With backtracking this would take longer than the world has existed."""
    assert list(linear_regex.found("(a+)+$", "a" * 400 + "b")) == []


PIECES = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "a?", "b*", "a+?", "(a|ab)", "(?:b|)", "(ab)*", "a{1,2}", "^", "$", r"\b", r"\w"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=5).map("".join), st.text("ab c", max_size=8))
def test_it_finds_what_pythons_own_engine_finds(pattern: str, text: str) -> None:
    wanted = [match.group() for match in re.finditer(pattern, text, re.ASCII)]
    found = list(linear_regex.found(pattern, text))
    # an empty match right behind another one is none in Go
    assert [one for one in found if one] == [one for one in wanted if one]
