"""Laws of server-side apply and of patches, through the API: whatever is applied in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.engine_world import DEPLOYMENTS, World, in_world

MANAGERS = ("ann", "bob")
PATH = f"{DEPLOYMENTS}/d"

_env = st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["1", "2"]), max_size=3)
_config = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 2),
        "image": st.sampled_from(["i:1", "i:2"]),
        "env": _env,
        "labels": _env,
        "ports": st.sets(st.sampled_from([80, 81]), max_size=2),
        "args": st.lists(st.sampled_from(["x", "y"]), max_size=2),
    },
)
_step = st.tuples(st.sampled_from(MANAGERS), _config, st.booleans())


def manifest(config: dict[str, Any]) -> dict[str, Any]:
    """A Deployment that says no more than the configuration, and what every one must."""
    container: dict[str, Any] = {"name": "c"}
    for field in ("image", "args"):
        if field in config:
            container[field] = config[field]
    if config.get("env"):
        container["env"] = [{"name": name, "value": value} for name, value in config["env"].items()]
    if config.get("ports"):
        container["ports"] = [{"containerPort": port, "protocol": "TCP"} for port in sorted(config["ports"])]
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
    }
    if "replicas" in config:
        spec["replicas"] = config["replicas"]
    metadata: dict[str, Any] = {"name": "d"}
    if config.get("labels"):
        metadata["labels"] = config["labels"]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def apply(world: World, manager: str, config: dict[str, Any], *, force: bool, dry: bool = False) -> Any:
    query = f"fieldManager={manager}" + ("&force=true" if force else "") + ("&dryRun=All" if dry else "")
    media = {"content-type": "application/apply-patch+yaml"}
    return await world.ask("PATCH", f"{PATH}?{query}", manifest(config), media)


def leaves(fields: dict[str, Any], path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The fields of a set that have none below them."""
    found: set[tuple[str, ...]] = set()
    for name, below in fields.items():
        if name != ".":
            found |= leaves(below, (*path, name)) if below else {(*path, name)}
    return found


def owned(obj: dict[str, Any]) -> dict[str, set[tuple[str, ...]]]:
    return {
        entry["manager"]: leaves(entry["fieldsV1"])
        for entry in obj["metadata"]["managedFields"]
        if entry["operation"] == "Apply"
    }


def said(config: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What a manifest has at the path of a field set."""
    node: Any = manifest(config)
    for part in path:
        if part.startswith("f:"):
            node = node[part[2:]]
        elif part.startswith("k:"):
            import json

            key = json.loads(part[2:])
            node = next(item for item in node if all(item.get(name) == value for name, value in key.items()))
        else:
            return part  # one of a set of values
    return node


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.lists(_step, min_size=1, max_size=6))
def test_two_appliers_never_both_own_what_they_disagree_about(steps: list[tuple[str, dict[str, Any], bool]]) -> None:
    async def body(world: World) -> None:
        begin = {"image": "i:0"}
        assert (await apply(world, "first", begin, force=True))[0] == 201
        last: dict[str, dict[str, Any]] = {"first": begin}
        for manager, config, force in steps:
            _, before = await world.ask("GET", PATH)
            status, answer = await apply(world, manager, config, force=force)
            if status in (409, 422):
                # a conflict, or the image taken away that a container must have: nothing has changed
                assert not force or status == 422
                assert (await world.ask("GET", PATH))[1] == before
                continue
            assert status == 200, answer
            last[manager] = config
            # to apply it again changes nothing, and a dry run says so
            _, dry = await apply(world, manager, config, force=False, dry=True)
            _, again = await apply(world, manager, config, force=False)
            assert dry == again == answer
            owners = owned(answer)
            for one, mine in owners.items():
                for other, theirs in owners.items():
                    for path in mine & theirs:
                        # both own it, so both said it last, and the same
                        assert said(last[one], path) == said(last[other], path), (one, other, path)

    in_world(body)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(_config, _config)
def test_a_patch_that_was_taken_leaves_no_difference(one: dict[str, Any], other: dict[str, Any]) -> None:
    """For every kind of patch: sent once more, it changes nothing, not even the version."""

    async def body(world: World) -> None:
        await world.made(DEPLOYMENTS, manifest({"image": "i:0", **one}))
        for kind in ("merge-patch+json", "strategic-merge-patch+json"):
            change = manifest({"image": "i:9", **other})
            status, first = await world.patch(PATH, change, kind)
            assert status == 200, first
            status, second = await world.patch(PATH, change, kind)
            assert (status, second) == (200, first)
            _, live = await world.ask("GET", PATH)
            assert live == first

    in_world(body)
