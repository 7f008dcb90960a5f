"""What a server does only when it is told to: the feature gates of v1.36 that are closed, and the kinds behind them.

A kind behind a gate is served when its gate is open and its group version is switched on, as upstream's `--feature-gates`
and `--runtime-config` have it. Gates that carob cannot open are not known: who names one should hear it.

Pure. Source: kubernetes `pkg/features/kube_features.go`; apiserver `server/resourceconfig` (MergeAPIResourceConfigs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api.resources import GATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.resources import Resource

CLUSTER_TRUST_BUNDLE = "ClusterTrustBundle"
CLUSTER_TRUST_BUNDLE_PROJECTION = "ClusterTrustBundleProjection"
GATES = (CLUSTER_TRUST_BUNDLE, CLUSTER_TRUST_BUNDLE_PROJECTION)
_GATE_OF_KIND = {"ClusterTrustBundle": CLUSTER_TRUST_BUNDLE}
_WHOLE_WORDS = ("AllAlpha", "AllBeta")
_MATURITY = ("api/all", "api/ga", "api/beta", "api/alpha")
_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False, "": True}


class Features(NamedTuple):
    """What is switched on. `apis` are words of `--runtime-config`: `GROUP/VERSION`, `GROUP/VERSION/PLURAL`, `api/beta`."""

    gates: frozenset[str] = frozenset()
    apis: frozenset[str] = frozenset()
    off: frozenset[str] = frozenset()
    """Words of `--runtime-config` that are switched off by name."""

    def rows(self) -> list[Resource]:
        """The kinds that are served besides the usual ones."""
        return [row for row in GATED if _GATE_OF_KIND[row.kind] in self.gates and self._serves(row)]

    def _serves(self, row: Resource) -> bool:
        for word in (f"{row.api_version}/{row.plural}", row.api_version, "api/beta", "api/all"):
            if word in self.apis or word in self.off:
                return word in self.apis
        return False


USUAL = Features()


def read(gates: Sequence[str], runtime_config: Sequence[str]) -> Features:
    """The words of both flags, each `NAME=true` or `NAME=false`. Raises: ValueError in upstream's words."""
    opened = {name for name, on in _pairs(gates, "feature gates") if _known_gate(name) and on}
    if "AllBeta" in opened:
        opened |= set(GATES) - {name for name, on in _pairs(gates, "") if not on}
    words = dict(_pairs(runtime_config, "runtime config"))
    known = {word for row in GATED for word in (row.api_version, f"{row.api_version}/{row.plural}")}
    for word in words:
        if word not in known and word not in _MATURITY:
            _refuse_unknown_api(word)
    return Features(
        frozenset(opened & set(GATES)),
        frozenset(word for word, on in words.items() if on),
        frozenset(word for word, on in words.items() if not on),
    )


def _known_gate(name: str) -> bool:
    if name not in GATES and name not in _WHOLE_WORDS:
        raise ValueError(f"unrecognized feature gate: {name}")
    return True


def _refuse_unknown_api(word: str) -> None:
    """What carob serves always may be switched on, and not off."""
    from carob.api.resources import TABLE

    parts = word.split("/")
    if not any(row.api_version == "/".join(parts[:2]) for row in TABLE):
        raise ValueError(f"runtime-config: {word} is not a group version that can be switched on")


def _pairs(words: Sequence[str], what: str) -> list[tuple[str, bool]]:
    out = []
    for word in words:
        name, equal, value = word.partition("=")
        on = _BOOLEANS.get(value.strip().lower())
        if not name.strip() or on is None or (what == "feature gates" and not equal):
            raise ValueError(
                f"missing bool value for {name}" if not equal else f'invalid value of {name}="{value}", must be a bool'
            )
        out.append((name.strip(), on))
    return out
