"""Conditions that the API server itself writes: FlowSchemas and APIServices follow what they refer to."""

from __future__ import annotations

from typing import Any

from tests.api.asking import Asker, WithServer, soon

FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
LEVELS = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
JSON = {"content-type": "application/json"}


async def condition_is(api: Asker, path: str, kind: str, status: str, reason: str) -> Any:
    """The object, once it has this condition."""
    found: dict[str, Any] = {}

    async def there() -> bool:
        found["object"] = (await api.ask("GET", path))[1]
        conditions = found["object"].get("status", {}).get("conditions", ())
        return (kind, status, reason) in [(one["type"], one["status"], one["reason"]) for one in conditions]

    await soon(there)
    return found["object"]


async def made(api: Asker, path: str, tree: Any) -> None:
    status, answer = await api.ask("POST", path, tree, headers=JSON)
    assert status == 201, answer


def test_a_flow_schema_dangles_while_its_level_is_missing(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        spec = {"priorityLevelConfiguration": {"name": "late"}, "matchingPrecedence": 500}
        await made(api, FLOWS, {"metadata": {"name": "mine"}, "spec": spec})
        schema = await condition_is(api, f"{FLOWS}/mine", "Dangling", "True", "NotFound")
        assert "there is no such object" in schema["status"]["conditions"][0]["message"]
        owners = {(one["manager"], one["operation"]) for one in schema["metadata"]["managedFields"]}
        assert ("api-priority-and-fairness-config-consumer-v1", "Apply") in owners
        level = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
        await made(api, LEVELS, {"metadata": {"name": "late"}, "spec": level})
        await condition_is(api, f"{FLOWS}/mine", "Dangling", "False", "Found")
        assert (await api.ask("DELETE", f"{LEVELS}/late"))[0] == 200
        await condition_is(api, f"{FLOWS}/mine", "Dangling", "True", "NotFound")

    with_server(body)


def test_what_a_new_cluster_says_needs_no_second_write(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        async def ready() -> bool:
            return bool((await api.ask("GET", FLOWS))[1]["items"])

        await soon(ready)
        for path in (FLOWS, API_SERVICES):
            for item in (await api.ask("GET", path))[1]["items"]:
                created = item["metadata"]["resourceVersion"]
                again = (await api.ask("GET", f"{path}/{item['metadata']['name']}"))[1]
                assert (again["metadata"]["resourceVersion"], len(again["status"]["conditions"])) == (created, 1)

    with_server(body)


def test_an_api_service_is_as_available_as_its_service(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        path = f"{API_SERVICES}/v1.far.example.com"
        spec = {
            "group": "far.example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
            "service": {"name": "far", "namespace": "default", "port": 8443},
        }
        await made(api, API_SERVICES, {"metadata": {"name": "v1.far.example.com"}, "spec": spec})
        service = await condition_is(api, path, "Available", "False", "ServiceNotFound")
        assert service["status"]["conditions"][0]["message"] == 'service/far in "default" is not present'
        services = "/api/v1/namespaces/default/services"
        await made(api, services, {"metadata": {"name": "far"}, "spec": {"ports": [{"name": "a", "port": 80}]}})
        await condition_is(api, path, "Available", "False", "ServicePortError")
        patch: Any = {"spec": {"ports": [{"name": "a", "port": 8443}]}}
        headers = {"content-type": "application/merge-patch+json"}
        assert (await api.ask("PATCH", f"{services}/far", patch, headers=headers))[0] == 200
        await condition_is(api, path, "Available", "False", "EndpointsNotFound")
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        tree = {
            "metadata": {"name": "far-1", "labels": {"kubernetes.io/service-name": "far"}},
            "addressType": "IPv4",
            "endpoints": [],
            "ports": [{"name": "a", "port": 8443}],
        }
        await made(api, slices, tree)
        await condition_is(api, path, "Available", "False", "MissingEndpoints")
        patch = {"endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}]}
        assert (await api.ask("PATCH", f"{slices}/far-1", patch, headers=headers))[0] == 200
        await condition_is(api, path, "Available", "False", "FailedDiscoveryCheck")

    with_server(body)


def test_an_aggregated_role_is_owned_by_who_sums_it_up(with_server: WithServer) -> None:
    async def body(api: Asker) -> None:
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        rule = {"clusterRoleSelectors": [{"matchLabels": {"sum": "yes"}}]}
        await made(api, roles, {"metadata": {"name": "sum"}, "aggregationRule": rule, "rules": []})
        part = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        await made(api, roles, {"metadata": {"name": "part", "labels": {"sum": "yes"}}, "rules": [part]})

        async def summed() -> bool:
            return bool((await api.ask("GET", f"{roles}/sum"))[1]["rules"])

        await soon(summed)
        role = (await api.ask("GET", f"{roles}/sum"))[1]
        owners = {(one["manager"], one["operation"]): one["fieldsV1"] for one in role["metadata"]["managedFields"]}
        assert owners["clusterrole-aggregation-controller", "Apply"] == {"f:rules": {}}

    with_server(body)
