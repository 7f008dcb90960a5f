"""A KubeSchedulerConfiguration file made into profiles, with the functions of the user's packages that it names.

A package offers a filter or a score as an entry point of the group `carob.scheduler.filter` or `carob.scheduler.score`:
a function `(pod, snapshot)` that returns None, when it has nothing to say of the Pod, or a function of a node. A filter's
returns a `Rejection` or None, a score's a number from 0 to 100; a score looks at nothing but the Pod and the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.scheduler.profiles import ProfileError, read

if TYPE_CHECKING:
    from carob.scheduler.profiles import Profile


def load(text: str) -> dict[str, Profile]:
    """The profiles of a file's text (YAML or JSON). Raises: ProfileError."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"no YAML: {error}") from error
    return read(tree, entry_point)


def entry_point(group: str, name: str) -> Any:
    """The user's function of this name; None if no installed package has one. Raises: ProfileError."""
    from importlib.metadata import entry_points

    for found in entry_points(group=f"carob.scheduler.{group}", name=name):
        try:
            return found.load()
        except (ImportError, AttributeError) as error:
            raise ProfileError(f'the {group} "{name}" of {found.value} cannot be loaded: {error}') from error
    return None
