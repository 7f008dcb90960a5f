"""The user's AuthenticationConfiguration, read again when it has changed: looked at every minute, as upstream does.

A file that cannot be used changes nothing; the log says why, once.
May touch: that file. Source: kube-apiserver `--authentication-config`, KEP-3331.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from carob.apiserver.authn.jwt_issuers import ConfigError, load
from carob.base.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.apiserver.authn.jwt_issuers import AuthenticationRules
    from carob.base.clock import Clock

INTERVAL_SECONDS = 60.0
_log = get_logger("authentication")


class AuthenticationFile:
    """One server's. `own_issuer` is that of service-account tokens."""

    def __init__(
        self, rules: AuthenticationRules, own_issuer: str, use: Callable[[AuthenticationRules], None], clock: Clock
    ) -> None:
        self._rules = rules
        self._own_issuer = own_issuer
        self._use = use
        self._clock = clock
        self._seen = b""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(INTERVAL_SECONDS)

    def look(self) -> None:
        """Use the file if it says something else than the last time."""
        file = self._rules.file
        try:
            content = Path(file).read_bytes()
            if content == self._seen:
                return
            self._seen = content
            rules = replace(load(content.decode(), self._own_issuer), file=file)
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            if not isinstance(error, OSError) or self._seen:
                _log.error("%s is not used: %s", file, error)
            if isinstance(error, OSError):
                self._seen = b""
            return
        if rules != self._rules:
            self._rules = rules
            self._use(rules)
            _log.info("%s has changed and is used", file)
