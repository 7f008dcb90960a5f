"""MutatingAdmissionPolicies change writes. Answers upstream's page "Mutating Admission Policy" and its conformance tests.

Source: upstream `test/e2e/apimachinery/mutatingadmissionpolicy.go`, `plugin/policy/mutating/*_test.go`.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.policy_world import DEPLOYMENTS, GROUP, MAPS, World, config_map, deployment, in_world, named, rule

PODS = "/api/v1/namespaces/default/pods"


def apply(expression: str) -> dict[str, Any]:
    """A mutation by a configuration."""
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patch(expression: str) -> dict[str, Any]:
    """A mutation by operations."""
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def pod(name: str) -> dict[str, Any]:
    return named(name, spec={"containers": [{"name": "main", "image": "nginx"}]})


async def with_account(world: World) -> None:
    await world.made("/api/v1/namespaces/default/serviceaccounts", named("default"))


def test_a_deployment_gets_an_annotation() -> None:
    async def body(world: World) -> None:
        mutation = apply('Object{metadata: Object.metadata{annotations: {"mutated-by": "admission-policy"}}}')
        found = rule("deployments", "CREATE", "UPDATE", group="apps")
        await world.mutation("p", mutation, matchConstraints=found)
        made = await world.made(DEPLOYMENTS, deployment("d", 2))
        assert made["metadata"]["annotations"]["mutated-by"] == "admission-policy"
        assert made["spec"]["replicas"] == 2
        assert made["metadata"]["generation"] == 1

    in_world(body)


@pytest.mark.parametrize(
    ("mutation", "data"),
    [
        (apply("Object{data: {'k': 'w', 'm': object.data.k}}"), {"k": "w", "m": "v"}),
        (apply("Object{data: object.data.map(k, k).size() == 1 ? {'only': 'one'} : {}}"), {"k": "v", "only": "one"}),
        (patch("[JSONPatch{op: 'add', path: '/data/x', value: 'y'}]"), {"k": "v", "x": "y"}),
        (
            patch("[JSONPatch{op: 'test', path: '/data/k', value: 'no'}, JSONPatch{op: 'remove', path: '/data/k'}]"),
            {"k": "v"},
        ),
        (
            patch(
                "[JSONPatch{op: 'test', path: '/data/k', value: 'v'}, JSONPatch{op: 'move', from: '/data/k', path: '/data/l'}]"
            ),
            {"l": "v"},
        ),
        (patch("has(object.data.nosuch) ? [JSONPatch{op: 'remove', path: '/data/k'}] : []"), {"k": "v"}),
        (patch("[JSONPatch{op: 'replace', path: '/data', value: {'a': string(variables.n)}}]"), {"a": "7"}),
        (patch("[JSONPatch{op: 'add', path: '/data', value: Object.data{z: 'y'}}]"), {"z": "y"}),
    ],
)
def test_what_mutations_do(mutation: dict[str, Any], data: dict[str, str]) -> None:
    async def body(world: World) -> None:
        await world.mutation("p", mutation, variables=[{"name": "n", "expression": "3 + 4"}])
        made = await world.made(MAPS, config_map("a", k="v"))
        assert made["data"] == data
        assert (await world.ask("GET", f"{MAPS}/a"))["data"] == data

    in_world(body)


def test_a_key_is_escaped() -> None:
    async def body(world: World) -> None:
        expression = (
            "[JSONPatch{op: 'add', path: '/metadata/labels', value: {}}, JSONPatch{op: 'add', path: "
            "'/metadata/labels/' + jsonpatch.escapeKey('example.com/team'), value: request.userInfo.username}]"
        )
        await world.mutation("p", patch(expression))
        made = await world.made(MAPS, config_map("a"))
        assert made["metadata"]["labels"] == {"example.com/team": "admin"}

    in_world(body)


def test_a_sidecar_is_merged_by_its_name_and_defaulted() -> None:
    async def body(world: World) -> None:
        await with_account(world)
        expression = """Object{spec: Object.spec{containers: [
            Object.spec.containers{name: 'sidecar', image: 'proxy',
                ports: [Object.spec.containers.ports{containerPort: 80}]},
            Object.spec.containers{name: 'main', imagePullPolicy: 'Never'}]}}"""
        never = {"name": "once", "expression": "!object.spec.containers.exists(c, c.name == 'sidecar')"}
        await world.mutation("p", apply(expression), matchConditions=[never], matchConstraints=rule("pods", "CREATE"))
        made = await world.made(PODS, pod("a"))
        found = {one["name"]: one for one in made["spec"]["containers"]}
        assert set(found) == {"main", "sidecar"}
        assert found["main"]["image"] == "nginx"
        assert found["main"]["imagePullPolicy"] == "Never"
        assert found["sidecar"]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
        # the account's token is mounted into what came later: the built-in plugins are called once more
        assert found["sidecar"]["volumeMounts"]
        assert [one["name"] for one in made["spec"]["volumes"]] == [found["main"]["volumeMounts"][0]["name"]]

    in_world(body)


@pytest.mark.parametrize(
    ("mutation", "wanted"),
    [
        (apply("Object{data: {'k': object.data.nosuch}}"), "resulted in error: no such key: nosuch"),
        (
            apply("Object{spec: Object.spec{}}"),
            "error applying patch: failed to convert patch object to typed object: .spec: field not declared in schema",
        ),
        (
            apply("Object{metadata: Object.meta{}}"),
            'type mismatch: unexpected type name "Object.meta", expected "Object.metadata", which matches field name path '
            "from root Object type",
        ),
        (apply("Object{immutable: 'yes'}"), ".immutable: expected boolean, got"),
        (patch("[JSONPatch{op: 'remove', path: '/data/nosuch'}]"), "JSONPath: "),
        (patch("[JSONPatch{op: 'replace', path: '/data', value: 3}]"), "failed to convert the mutated object: "),
    ],
)
def test_a_mutation_that_fails_refuses(mutation: dict[str, Any], wanted: str) -> None:
    async def body(world: World) -> None:
        await world.mutation("p", mutation)
        status = await world.refused("POST", MAPS, config_map("a", k="v"))
        assert status["message"].startswith("policy 'p' with binding 'p' denied request: ")
        assert wanted in status["message"]
        assert (status["code"], status["reason"]) == (403, "Invalid")
        assert status["details"]["causes"] == [{"message": status["message"]}]
        await world.ask(
            "PATCH",
            f"{GROUP}/mutatingadmissionpolicies/p",
            {"spec": {"failurePolicy": "Ignore"}},
            media="application/merge-patch+json",
        )
        assert (await world.made(MAPS, config_map("a", k="v")))["data"] == {"k": "v"}

    in_world(body)


def test_what_is_owned_as_a_whole_is_not_applied() -> None:
    async def body(world: World) -> None:
        await with_account(world)
        expression = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'main', args: ['x']}]}}"
        await world.mutation("p", apply(expression), matchConstraints=rule("pods", "CREATE"))
        status = await world.refused("POST", PODS, pod("a"))
        words = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
        assert f"{words}.spec.containers[0].args" in status["message"]

    in_world(body)


def test_owners_and_what_the_server_alone_says_stay_as_they_are() -> None:
    async def body(world: World) -> None:
        plain = await world.made(MAPS, config_map("plain", k="v"))
        expression = (
            "Object{metadata: Object.metadata{uid: 'mine', labels: {'a': has(object.metadata.uid) ? 'b' : 'c'}}}"
        )
        await world.mutation("p", apply(expression))
        made = await world.made(MAPS, config_map("a", k="v"))
        # what a policy adds is nobody's
        without_times = [
            [{key: one[key] for key in one if key != "time"} for one in obj["metadata"]["managedFields"]]
            for obj in (plain, made)
        ]
        assert without_times[0] == without_times[1]
        assert made["metadata"]["uid"] != "mine"
        assert made["metadata"]["labels"] == {"a": "c"}
        changed = await world.ask("PUT", f"{MAPS}/a", config_map("a", k="w"))
        assert (changed["data"], changed["metadata"]["labels"]) == ({"k": "w"}, {"a": "b"})
        assert changed["metadata"]["uid"] == made["metadata"]["uid"]

    in_world(body)


def test_a_dry_run_shows_the_change_and_a_validating_policy_judges_it() -> None:
    async def body(world: World) -> None:
        await world.mutation("p", apply("Object{data: {'added': 'yes'}}"))
        made = await world.made(f"{MAPS}?dryRun=All", config_map("a", k="v"))
        assert made["data"] == {"k": "v", "added": "yes"}
        await world.ask("GET", f"{MAPS}/a")
        assert world.status == 404
        await world.policy("q", "!('added' in object.data)")
        await world.refused("POST", MAPS, config_map("a", k="v"))

    in_world(body)


def test_policies_see_what_those_before_them_did_and_once_more_if_they_ask() -> None:
    async def body(world: World) -> None:
        count = "Object{data: {'count': string((has(object.data.count) ? int(object.data.count) : 0) + 1)}}"
        await world.mutation("a", apply(count), reinvocationPolicy="IfNeeded")
        await world.mutation("b", apply("Object{data: {'seen': object.data.count}}"))
        made = await world.made(MAPS, config_map("m", k="v"))
        # b changed the object after a, so a is asked again; b is not
        assert made["data"] == {"k": "v", "count": "2", "seen": "1"}
        await world.ask("DELETE", f"{GROUP}/mutatingadmissionpolicies/b")
        made = await world.made(MAPS, config_map("n", k="v"))
        assert made["data"] == {"k": "v", "count": "1"}

    in_world(body)


def test_parameters_and_applies() -> None:
    async def body(world: World) -> None:
        public = "/api/v1/namespaces/kube-public/configmaps"
        for name in ("one", "two"):
            await world.made(public, config_map(name, {"add": "yes"}, key=name))
        reference = {
            "selector": {"matchLabels": {"add": "yes"}},
            "namespace": "kube-public",
            "parameterNotFoundAction": "Deny",
        }
        mutation = patch("[JSONPatch{op: 'add', path: '/data/' + params.data.key, value: 'x'}]")
        kind = {"apiVersion": "v1", "kind": "ConfigMap"}
        await world.mutation("p", mutation, binding={"paramRef": reference}, paramKind=kind)
        tree = config_map("a", k="v") | {"kind": "ConfigMap", "apiVersion": "v1"}
        media = "application/apply-patch+yaml"
        made = await world.ask("PATCH", f"{MAPS}/a?fieldManager=m", tree, media=media)
        assert made["data"] == {"k": "v", "one": "x", "two": "x"}
        for name in ("one", "two"):
            await world.ask("DELETE", f"{public}/{name}")
        status = await world.refused("POST", MAPS, config_map("b", k="v"))
        assert "failed to configure binding: no params found" in status["message"]
        assert (status["code"], status["reason"]) == (403, "Forbidden")

    in_world(body)


def test_a_scale_and_an_equivalent_version_are_changed() -> None:
    async def body(world: World) -> None:
        await world.made(DEPLOYMENTS, deployment("d", 2))
        scaled = rule("deployments/scale", "UPDATE", group="apps")
        await world.mutation("p", apply("Object{spec: Object.spec{replicas: 4}}"), matchConstraints=scaled)
        found = await world.ask("PUT", f"{DEPLOYMENTS}/d/scale", named("d", spec={"replicas": 9}))
        assert found["spec"] == {"replicas": 4}
        found = rule("horizontalpodautoscalers", "CREATE", group="autoscaling", version="v2")
        await world.mutation("q", apply("Object{spec: Object.spec{minReplicas: 2}}"), matchConstraints=found)
        path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
        target = {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}
        spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
        made = await world.made(path, named("a", spec=spec))
        assert made["spec"] == spec | {"minReplicas": 2}

    in_world(body)
