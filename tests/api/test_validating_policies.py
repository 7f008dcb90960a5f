"""ValidatingAdmissionPolicies judge writes. Answers upstream's page "Validating Admission Policy" and its conformance tests.

Source: upstream `test/e2e/apimachinery/validatingadmissionpolicy.go`, `test/integration/apiserver/cel`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from carob.api.user import UserInfo
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.server import ApiServer
from carob.base.clock import SystemClock
from carob.base.ids import SystemRandomness
from carob.store.memory import MemoryStore
from tests.api.asking import soon
from tests.api.policy_world import (
    DEPLOYMENTS,
    GROUP,
    MAPS,
    World,
    config_map,
    deployment,
    in_world,
    named,
    rule,
)

PATCH = "[JSONPatch{op: 'add', path: '/data', value: {'a': 'b'}}]"
BOB = UserInfo("bob", ("system:masters",), extra={"team": ("blue",)})


def test_a_deployment_with_one_replica_is_refused_in_upstreams_words() -> None:
    async def body(world: World) -> None:
        await world.policy(
            "replicated",
            {"expression": "object.spec.replicas > 1", "messageExpression": "'got ' + string(object.spec.replicas)"},
            matchConstraints=rule("deployments", "CREATE", "UPDATE", group="apps"),
        )
        status = await world.refused("POST", DEPLOYMENTS, deployment("one", 1))
        words = "ValidatingAdmissionPolicy 'replicated' with binding 'replicated' denied request: got 1"
        assert status["message"] == f'deployments.apps "one" is forbidden: {words}'
        assert (status["reason"], status["code"]) == ("Invalid", 422)
        assert status["details"] == {
            "name": "one",
            "group": "apps",
            "kind": "deployments",
            "causes": [{"message": words}],
        }
        await world.made(DEPLOYMENTS, deployment("two", 2))
        await world.refused(
            "PATCH", f"{DEPLOYMENTS}/two", {"spec": {"replicas": 1}}, media="application/merge-patch+json"
        )
        # a subresource is another resource
        scale = named("two", spec={"replicas": 1})
        await world.ask("PUT", f"{DEPLOYMENTS}/two/scale", scale)
        assert world.status == 200

    in_world(body)


@pytest.mark.parametrize(
    ("validation", "wanted"),
    [
        ({"expression": "false"}, "failed expression: false"),
        ({"expression": " false ", "message": " no. "}, "no."),
        ({"expression": "false", "messageExpression": "'a' + object.data.k", "message": "no"}, "av"),
        ({"expression": "false", "messageExpression": "string(object.data.nosuch)", "message": "no"}, "no"),
        ({"expression": "false", "messageExpression": "'two\\nlines'"}, "failed expression: false"),
        (
            {"expression": "object.data.nosuch == ''"},
            "expression 'object.data.nosuch == ''' resulted in error: no such key: nosuch",
        ),
        ({"expression": "false", "reason": "Forbidden"}, "failed expression: false"),
        ({"expression": "false", "reason": "RequestEntityTooLarge"}, "failed expression: false"),
    ],
)
def test_what_a_refusal_says(validation: dict[str, Any], wanted: str) -> None:
    codes = {"Forbidden": 403, "RequestEntityTooLarge": 413}

    async def body(world: World) -> None:
        await world.policy("p", validation)
        status = await world.refused("POST", MAPS, config_map("a", k="v"))
        assert status["details"]["causes"] == [
            {"message": f"ValidatingAdmissionPolicy 'p' with binding 'p' denied request: {wanted}"}
        ]
        reason = validation.get("reason", "Invalid")
        assert (status["reason"], status["code"]) == (reason, codes.get(reason, 422))

    in_world(body)


@pytest.mark.parametrize(
    "expression",
    [
        "object.data.k == 'v' && object.kind == 'ConfigMap' && object.apiVersion == 'v1'",
        "oldObject == null && has(object.metadata.uid) && object.metadata.name == 'a'",
        "request.operation == 'CREATE' && request.name == 'a' && request.namespace == 'default' && !request.dryRun",
        "request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps' && request.kind.group == ''",
        "request.requestKind == request.kind && request.requestResource == request.resource",
        "request.userInfo.username == 'bob' && 'system:masters' in request.userInfo.groups",
        "request.userInfo.extra['team'] == ['blue'] && request.options.kind == 'CreateOptions'",
        "!has(request.subResource)",
        "namespaceObject.metadata.name == 'default' && namespaceObject.status.phase == 'Active'",
        "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'default'",
        "authorizer.requestResource.check('create').allowed()",
        "authorizer.group('').resource('pods').namespace('default').name('x').check('get').allowed()",
        "!authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('get').allowed()",
        "!authorizer.serviceAccount('default', 'nobody').path('/metrics').check('get').allowed()",
        "authorizer.path('/healthz').check('get').reason() == '' && !authorizer.path('/x').check('get').errored()",
        "[1, 2].all(i, v, v == i + 1) && quantity('1Gi').isGreaterThan(quantity('1Mi'))",
    ],
)
def test_what_expressions_see(expression: str) -> None:
    async def body(world: World) -> None:
        await world.policy("p", expression)
        await world.made(MAPS, config_map("a", k="v"), user=BOB)

    in_world(body)


def test_updates_and_deletions_show_the_old_object() -> None:
    async def body(world: World) -> None:
        await world.made(MAPS, config_map("a", k="v"))
        await world.policy(
            "p",
            "request.operation != 'UPDATE' || (oldObject.data.k == 'v' && object.data.k == 'w')",
            "request.operation != 'DELETE' || (object == null && oldObject.data.k != 'keep')",
            matchConstraints=rule("configmaps", "UPDATE", "DELETE"),
        )
        await world.ask("PUT", f"{MAPS}/a", config_map("a", k="w"))
        assert world.status == 200
        await world.refused("PUT", f"{MAPS}/a", config_map("a", k="x"))
        await world.ask("DELETE", f"{MAPS}/a")
        assert world.status == 200
        await world.made(MAPS, config_map("b", k="keep"))
        await world.refused("DELETE", f"{MAPS}/b")
        status = await world.refused("DELETE", MAPS)
        assert "denied request" in status["message"]
        await world.ask("GET", f"{MAPS}/b")
        assert world.status == 200

    in_world(body)


def test_an_apply_and_a_dry_run_are_judged_too() -> None:
    async def body(world: World) -> None:
        await world.policy("p", "object.data.k != 'bad'")
        tree = config_map("a", k="bad") | {"kind": "ConfigMap", "apiVersion": "v1"}
        media = "application/apply-patch+yaml"
        await world.refused("PATCH", f"{MAPS}/a?fieldManager=m", tree, media=media)
        await world.refused("POST", f"{MAPS}?dryRun=All", config_map("a", k="bad"))
        await world.ask("PATCH", f"{MAPS}/a?fieldManager=m", tree | {"data": {"k": "good"}}, media=media)
        assert world.status == 201
        await world.refused("PATCH", f"{MAPS}/a?fieldManager=m", tree, media=media)

    in_world(body)


def test_variables_are_composed_and_lazy() -> None:
    async def body(world: World) -> None:
        variables = [
            {"name": "broken", "expression": "object.data.nosuch"},
            {"name": "k", "expression": "object.data.k"},
            {"name": "long", "expression": "variables.k + variables.k"},
        ]
        await world.policy("p", "variables.long == 'vv'", variables=variables)
        await world.made(MAPS, config_map("a", k="v"))
        await world.policy("q", "variables.broken == ''", variables=variables)
        status = await world.refused("POST", MAPS, config_map("b", k="v"))
        why = 'composited variable "broken" fails to evaluate: no such key: nosuch'
        assert f"expression 'variables.broken == ''' resulted in error: {why}" in status["message"]

    in_world(body)


def test_match_conditions_leave_requests_out() -> None:
    async def body(world: World) -> None:
        conditions = [
            {"name": "not-bob", "expression": "request.userInfo.username != 'bob'"},
            {"name": "has-k", "expression": "has(object.data.k) && variables.v"},
        ]
        del conditions[1]
        await world.policy("p", "false", matchConditions=conditions)
        await world.made(MAPS, config_map("a", k="v"), user=BOB)
        await world.refused("POST", MAPS, config_map("b", k="v"))

    in_world(body)


@pytest.mark.parametrize(("policy", "code"), [("Fail", 422), ("Ignore", 201)])
def test_what_an_error_does_is_the_failure_policys(policy: str, code: int) -> None:
    async def body(world: World) -> None:
        await world.policy("p", "object.data.nosuch == ''", failurePolicy=policy)
        await world.ask("POST", MAPS, config_map("a", k="v"))
        assert world.status == code
        # an error in a condition, too
        conditions = [{"name": "c", "expression": "object.data.nosuch == ''"}]
        await world.policy("q", "true", failurePolicy=policy, matchConditions=conditions)
        answer = await world.ask("POST", MAPS, config_map("b", k="v"))
        assert world.status == code, answer
        # but what is judged is judged
        await world.policy("r", "object.metadata.name != 'c'", failurePolicy=policy)
        await world.refused("POST", MAPS, config_map("c", k="v"))

    in_world(body)


def test_rules_selectors_and_exclusions_say_what_a_policy_is_about() -> None:
    async def body(world: World) -> None:
        await world.made("/api/v1/namespaces", named("marked", metadata={"labels": {"mark": "yes"}}))
        constraints = rule("configmaps", "CREATE") | {
            "namespaceSelector": {"matchLabels": {"mark": "yes"}},
            "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
            "excludeResourceRules": rule("configmaps", "CREATE", resourceNames=["exempt"])["resourceRules"],
        }
        await world.policy("p", "false", matchConstraints=constraints)
        marked = "/api/v1/namespaces/marked/configmaps"
        await world.made(MAPS, config_map("a"))
        await world.made(marked, config_map("exempt"))
        await world.made(marked, config_map("b", {"free": "yes"}))
        await world.refused("POST", marked, config_map("c"))
        await world.made("/api/v1/namespaces/marked/secrets", named("c"))

    in_world(body)


@pytest.mark.parametrize(
    ("constraints", "refused"),
    [
        (rule("namespaces", "CREATE"), True),
        (rule("namespaces", "CREATE", scope="Cluster"), True),
        (rule("namespaces", "CREATE", scope="Namespaced"), False),
        (rule("*", "CREATE", group="*", version="*"), True),
        (rule("namespaces/status", "*"), False),
        (rule("namespaces", "UPDATE"), False),
        (rule("namespaces", "CREATE", resourceNames=["n"]), True),
        (rule("namespaces", "CREATE", resourceNames=["m"]), False),
        (rule("namespaces", "CREATE") | {"namespaceSelector": {"matchLabels": {"a": "b"}}}, True),
        (rule("namespaces", "CREATE") | {"namespaceSelector": {"matchLabels": {"a": "c"}}}, False),
    ],
)
def test_rules_about_namespaces(constraints: dict[str, Any], refused: bool) -> None:
    async def body(world: World) -> None:
        await world.policy("p", "namespaceObject != null", matchConstraints=constraints)
        await world.ask("POST", "/api/v1/namespaces", named("n", metadata={"labels": {"a": "b"}}))
        assert (world.status == 422) is refused

    in_world(body)


def test_an_equivalent_version_is_meant_unless_the_match_is_to_be_exact() -> None:
    async def body(world: World) -> None:
        path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
        target = {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}
        spec = {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
        found = rule("horizontalpodautoscalers", "CREATE", group="autoscaling", version="v2")
        validation = (
            "object.apiVersion != 'autoscaling/v2' || request.requestKind.version != 'v1' || "
            "object.spec.metrics[0].resource.target.averageUtilization != 50"
        )
        await world.policy("exact", "false", matchConstraints=found | {"matchPolicy": "Exact"})
        await world.made(path, named("a", spec=spec))
        await world.policy("equivalent", validation, matchConstraints=found)
        await world.refused("POST", path, named("b", spec=spec))

    in_world(body)


def test_bindings_narrow_and_say_what_happens() -> None:
    async def body(world: World) -> None:
        await world.policy("p", "false", binding={"validationActions": ["Warn"]})
        await world.made(MAPS, config_map("a"))
        words = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': failed expression: false"
        assert world.warnings == [f'299 - "{words}"']
        await world.ask("DELETE", f"{MAPS}/a")
        assert world.warnings == [f'299 - "{words}"']
        only = {"matchResources": {"objectSelector": {"matchLabels": {"strict": "yes"}}}}
        spec = {"policyName": "p", "validationActions": ["Deny"]} | only
        await world.made(f"{GROUP}/validatingadmissionpolicybindings", named("second", spec=spec))
        await world.made(MAPS, config_map("b"))
        status = await world.refused("POST", MAPS, config_map("c", {"strict": "yes"}))
        assert "with binding 'second'" in status["message"]
        # what is not bound judges nobody
        for name in ("p", "second"):
            await world.ask("DELETE", f"{GROUP}/validatingadmissionpolicybindings/{name}")
        await world.made(MAPS, config_map("c", {"strict": "yes"}))
        assert world.warnings == []

    in_world(body)


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ({"name": "limits", "namespace": "kube-public"}, "too long: 3"),
        ({"name": "limits"}, "no params found for policy binding with `Deny` parameterNotFoundAction"),
        ({"selector": {"matchLabels": {"a": "b"}}, "namespace": "kube-public"}, "too long: 3"),
        ({"selector": {"matchLabels": {"a": "c"}}, "namespace": "kube-public"}, "no params found"),
        ({"name": "nosuch", "namespace": "kube-public", "parameterNotFoundAction": "Allow"}, ""),
    ],
)
def test_parameters_come_from_other_objects(reference: dict[str, Any], wanted: str) -> None:
    async def body(world: World) -> None:
        public = "/api/v1/namespaces/kube-public/configmaps"
        await world.made(public, config_map("limits", {"a": "b"}, max="3"))
        binding = {"paramRef": {"parameterNotFoundAction": "Deny"} | reference}
        validation = {
            "expression": "object.data.k.size() <= int(params.data.max)",
            "messageExpression": "'too long: ' + params.data.max",
        }
        kind = {"apiVersion": "v1", "kind": "ConfigMap"}
        await world.policy("p", validation, binding=binding, paramKind=kind)
        await world.ask("POST", MAPS, config_map("short", k="v"))
        assert (world.status == 201) is (not wanted or wanted.startswith("too long"))
        answer = await world.ask("POST", MAPS, config_map("long", k="vvvv"))
        assert wanted in answer.get("message", "")
        assert world.status == (422 if wanted else 201)

    in_world(body)


@pytest.mark.parametrize(
    ("kind", "reference", "wanted"),
    [
        (
            {"apiVersion": "example.com/v1", "kind": "Limit"},
            {"name": "x"},
            "failed to configure binding: paramKind kind `&ParamKind{APIVersion:example.com/v1,Kind:Limit,}` not known",
        ),
        (
            {"apiVersion": "v1", "kind": "Node"},
            {"name": "x", "namespace": "default"},
            "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
        ),
    ],
)
def test_what_is_wrong_with_a_binding(kind: dict[str, str], reference: dict[str, Any], wanted: str) -> None:
    async def body(world: World) -> None:
        binding = {"paramRef": {"parameterNotFoundAction": "Deny"} | reference}
        await world.policy("p", "true", binding=binding, paramKind=kind)
        status = await world.refused("POST", MAPS, config_map("a"))
        assert wanted in status["message"]

    in_world(body)


def test_policies_are_never_asked_about_policies() -> None:
    async def body(world: World) -> None:
        everything = rule("*", "*", group="*", version="*")
        everything["resourceRules"][0]["resources"] = ["*/*"]
        await world.policy("p", "false", matchConstraints=everything)
        await world.refused("POST", MAPS, config_map("a"))
        # nor about questions, which are not kept
        spec = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
        review = {"spec": spec}
        await world.made("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        await world.policy("q", "true")
        for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            await world.ask("DELETE", f"{GROUP}/{plural}/p")
            assert world.status == 200
        await world.made(MAPS, config_map("a"))

    in_world(body)


def test_a_policy_that_costs_too_much_refuses() -> None:
    async def body(world: World) -> None:
        numbers = str(list(range(50)))
        loop = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, {numbers}.all(d, a + b + c + d > -1))))"
        await world.policy("p", loop)
        status = await world.refused("POST", MAPS, config_map("a"))
        assert "resulted in error: operation cancelled: actual cost limit exceeded" in status["message"]
        await world.ask("DELETE", f"{GROUP}/validatingadmissionpolicies/p")
        checks = " && ".join(["!authorizer.path('/x').check('get').errored()"] * 2)
        await world.policy("q", *[checks] * 15)
        status = await world.refused("POST", MAPS, config_map("a"))
        assert "validation failed due to running out of cost budget, no further validation rules" in status["message"]

    in_world(body)


def test_a_changed_policy_judges_at_once() -> None:
    async def body(world: World) -> None:
        await world.policy("p", "false")
        await world.refused("POST", MAPS, config_map("a"))
        patch = {"spec": {"validations": [{"expression": "true"}]}}
        await world.ask("PATCH", f"{GROUP}/validatingadmissionpolicies/p", patch, media="application/merge-patch+json")
        assert world.status == 200
        await world.made(MAPS, config_map("a"))

    in_world(body)


def test_subresources_have_their_own_kinds() -> None:
    async def body(world: World) -> None:
        await world.made(DEPLOYMENTS, deployment("d", 2))
        scaled = rule("deployments/scale", "UPDATE", group="apps")
        await world.policy(
            "p",
            "object.kind == 'Scale' && object.spec.replicas < 5 && oldObject.spec.replicas == 2 && "
            "request.kind.kind == 'Scale' && request.kind.group == 'autoscaling' && request.subResource == 'scale'",
            matchConstraints=scaled,
        )
        await world.refused("PUT", f"{DEPLOYMENTS}/d/scale", named("d", spec={"replicas": 7}))
        await world.ask("PUT", f"{DEPLOYMENTS}/d/scale", named("d", spec={"replicas": 3}))
        assert world.status == 200
        await world.policy(
            "q",
            "object.kind == 'TokenRequest' && !('mine' in object.spec.audiences)",
            matchConstraints=rule("serviceaccounts/token", "CREATE"),
        )
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await world.made(accounts, named("bot"))
        await world.refused("POST", f"{accounts}/bot/token", {"spec": {"audiences": ["mine"]}})

    in_world(body)


def test_connections_and_evictions_are_judged() -> None:
    async def body(world: World) -> None:
        await world.made("/api/v1/namespaces/default/serviceaccounts", named("default"))
        pods = "/api/v1/namespaces/default/pods"
        await world.made(pods, named("a", spec={"containers": [{"name": "c", "image": "i"}]}))
        await world.policy(
            "p",
            "object.kind == 'PodExecOptions' && object.container == 'c' && object.tty && object.command == ['sh', '-c']",
            "request.operation == 'CONNECT' && request.kind.kind == 'PodExecOptions' && request.name == 'a'",
            matchConstraints=rule("pods/exec", "CONNECT"),
        )
        status = await world.refused("POST", f"{pods}/a/exec?command=rm&container=c&tty=true")
        assert "denied request: failed expression: object.kind" in status["message"]
        assert status["message"].startswith('pods "a" is forbidden: ')
        status = await world.refused("POST", f"{pods}/a/exec?command=sh&command=-c&container=c&tty=true")
        assert status["message"] == "pod a does not have a host assigned"
        await world.policy(
            "q",
            "object.kind == 'Eviction' && object.metadata.name != 'a'",
            matchConstraints=rule("pods/eviction", "CREATE"),
        )
        # an eviction is no deletion for policies
        await world.policy(
            "r", "false", matchConstraints=rule("pods", "DELETE"), binding={"validationActions": ["Warn"]}
        )
        await world.refused("POST", f"{pods}/a/eviction", named("a"))
        await world.ask("DELETE", f"{GROUP}/validatingadmissionpolicies/q")
        await world.made(f"{pods}/a/eviction", named("a"))
        assert world.warnings == []

    in_world(body)


def test_a_refusal_comes_with_the_warnings_of_others() -> None:
    async def body(world: World) -> None:
        await world.policy("a", "false", binding={"validationActions": ["Warn", "Audit"]})
        await world.policy("b", "false")
        await world.refused("POST", MAPS, config_map("x"))
        assert len(world.warnings) == 1
        assert "ValidatingAdmissionPolicy 'a'" in world.warnings[0]

    in_world(body)


async def _checked(world: World, name: str) -> Any:
    """A policy's status, once somebody has looked at its types."""
    found: dict[str, Any] = {}

    async def there() -> bool:
        found.update(await world.ask("GET", f"{GROUP}/validatingadmissionpolicies/{name}"))
        return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])

    await soon(there)
    return found


def test_types_are_checked() -> None:
    async def body(world: World) -> None:
        deployments = rule("deployments", "CREATE", group="apps")
        await world.policy("correct", "object.spec.replicas > 1", matchConstraints=deployments)
        assert (await _checked(world, "correct"))["status"] == {"observedGeneration": 1, "typeChecking": {}}
        await world.policy(
            "confused",
            {"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas"},
            "variables.n.all(c, c.nosuch == params.nosuch)",
            matchConstraints=deployments,
            variables=[{"name": "n", "expression": "object.spec.template.spec.containers"}],
            paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        )
        found = await _checked(world, "confused")
        told = found["status"]["typeChecking"]["expressionWarnings"]
        assert [one["fieldRef"] for one in told] == [
            "spec.validations[0].expression",
            "spec.validations[0].messageExpression",
            "spec.validations[1].expression",
        ]
        assert told[0]["warning"] == (
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n"
            " | object.spec.replicas > '1'\n | .....................^\n"
        )
        assert "found no matching overload for '_+_' applied to '(string, int)'" in told[1]["warning"]
        assert "undefined field 'nosuch'" in told[2]["warning"]
        owners = {(one["manager"], one.get("subresource")) for one in found["metadata"]["managedFields"]}
        assert ("validatingadmissionpolicy-status-controller", "status") in owners
        patch = {"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}}
        path = f"{GROUP}/validatingadmissionpolicies/confused"
        await world.ask("PATCH", path, patch, media="application/merge-patch+json")
        assert not (await _checked(world, "confused"))["status"].get("typeChecking")

    in_world(body)


def test_policies_judge_from_the_first_moment_of_a_server_that_starts_again() -> None:
    async def main() -> None:
        store = MemoryStore()
        for begun in (False, True):
            api = ApiServer(store, ApiServerOptions(), SystemClock(), SystemRandomness())
            await api.start()
            world = World(api)
            if not begun:
                await world.policy("p", "false")
                await world.mutation("m", {"patchType": "JSONPatch", "jsonPatch": {"expression": PATCH}})
            await world.refused("POST", MAPS, config_map("a"))
            await api.close()

    asyncio.run(main())


def test_parameters_of_a_namespace_are_looked_for_in_itself() -> None:
    async def body(world: World) -> None:
        spaces = "/api/v1/namespaces"
        await world.made(spaces, named("n"))
        await world.made(f"{spaces}/n/configmaps", config_map("limits", most="1"))
        await world.policy(
            "p",
            "!has(object.metadata.labels.a) || params.data.most == '2'",
            binding={"paramRef": {"name": "limits", "parameterNotFoundAction": "Allow"}},
            paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
            matchConstraints=rule("namespaces", "UPDATE"),
        )
        patch = {"metadata": {"labels": {"a": "b"}}}
        await world.refused("PATCH", f"{spaces}/n", patch, media="application/merge-patch+json")
        await world.ask("PATCH", f"{spaces}/kube-public", patch, media="application/merge-patch+json")
        assert world.status == 200

    in_world(body)
