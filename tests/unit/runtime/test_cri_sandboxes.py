"""A sandbox's user namespace in the CRI's words."""

from __future__ import annotations

import msgspec
import pytest

from carob.runtime.cri import sandbox_messages as wire
from carob.runtime.cri.sandboxes import from_wire_config, to_wire_config
from carob.runtime.types import SandboxConfig, UserNamespace

CONFIG = SandboxConfig(name="p", namespace="default", uid="u", users=UserNamespace(131_072, 65_536))


def test_a_user_namespace_is_asked_for_and_understood() -> None:
    assert from_wire_config(to_wire_config(CONFIG), "").users == UserNamespace(131_072, 65_536)
    plain = msgspec.structs.replace(CONFIG, users=None)
    assert from_wire_config(to_wire_config(plain), "").users is None


def test_other_maps_are_refused() -> None:
    config = to_wire_config(CONFIG)
    assert config.linux is not None
    assert config.linux.security_context is not None
    options = config.linux.security_context.namespace_options
    assert options is not None
    assert options.userns_options is not None
    options.userns_options.gids = [wire.IDMapping(host_id=1, length=1)]
    with pytest.raises(ValueError, match="one range of ids"):
        from_wire_config(config, "")
