"""`create namespace` and `create serviceaccount`: a name and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.creators.base import add_create_flags, create, the_name

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


class Namespace:
    """Create a namespace with the specified name.

    Examples:
      carob create namespace staging
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [flags]"
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "namespace")
        tree = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "spec": {}, "status": {}}
        return create(arguments, tree)


class ServiceAccount:
    """Create a service account with the specified name.

    Examples:
      carob create serviceaccount builder
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [flags]"
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "serviceaccount")
        return create(arguments, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}})
