"""Every filter and every score of v1.36's scheduler once more, plainly, on the trees that the API shows.

It shares no line with the product: it looks at every Pod for every node, keeps nothing, and counts on its fingers. Slow,
and easy to believe. Amounts are whole numbers, CPU in millicores with an `m`.
Source: kube-scheduler `framework/plugins`.
"""

from __future__ import annotations

import math
from typing import Any

Tree = dict[str, Any]

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
MEBI = 1 << 20
FEW_BYTES, MANY_BYTES = 23 * MEBI, 1000 * MEBI


class Plain:
    """A cluster. `placed` holds Pods and the names of their nodes."""

    def __init__(self) -> None:
        self.nodes: list[Tree] = []
        self.placed: list[tuple[Tree, str]] = []
        self.namespaces: dict[str, dict[str, str]] = {}
        self.services: list[Tree] = []

    def on(self, node: Tree) -> list[Tree]:
        return [pod for pod, where in self.placed if where == node["metadata"]["name"]]

    def node_of(self, name: str) -> Tree | None:
        return next((node for node in self.nodes if node["metadata"]["name"] == name), None)

    # filters, in order

    def rejection(self, pod: Tree, node: Tree) -> list[str]:
        """What the first filter that says no says; nothing if all say yes."""
        for check in (
            self.unschedulable,
            self.taints,
            self.affinity,
            self.ports,
            self.fit,
            self.spread,
            self.neighbours,
        ):
            said = check(pod, node)
            if said:
                return said
        return []

    def unschedulable(self, pod: Tree, node: Tree) -> list[str]:
        cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        if node["spec"].get("unschedulable") and not tolerated(pod, cordon):
            return ["node(s) were unschedulable"]
        return []

    def taints(self, pod: Tree, node: Tree) -> list[str]:
        for taint in node["spec"].get("taints", []):
            if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
                return ["node(s) had untolerated taint(s)"]
        return []

    def affinity(self, pod: Tree, node: Tree) -> list[str]:
        return [] if node_is_asked_for(pod, node) else ["node(s) didn't match Pod's node affinity/selector"]

    def ports(self, pod: Tree, node: Tree) -> list[str]:
        for wanted in host_ports(pod):
            for other in self.on(node):
                for used in host_ports(other):
                    same = wanted[1:] == used[1:]
                    if same and (wanted[0] == used[0] or "0.0.0.0" in (wanted[0], used[0])):
                        return ["node(s) didn't have free ports for the requested pod ports"]
        return []

    def fit(self, pod: Tree, node: Tree) -> list[str]:
        said = []
        offered = amounts(node["status"]["allocatable"])
        if len(self.on(node)) + 1 > offered.get("pods", 0):
            said.append("Too many pods")
        for name in sorted(asked(pod), key=lambda one: ({"cpu": 0, "memory": 1}.get(one, 2), one)):
            value = asked(pod)[name]
            if value > 0 and value + sum(asked(other).get(name, 0) for other in self.on(node)) > offered.get(name, 0):
                said.append(f"Insufficient {name}")
        return said

    def spread(self, pod: Tree, node: Tree) -> list[str]:
        rules = [one for one in pod["spec"].get("topologySpreadConstraints", []) if hard(one)]
        for rule in rules:
            key = rule["topologyKey"]
            if key not in labels(node):
                return ["node(s) didn't match pod topology spread constraints (missing required label)"]
            counts = self.domains(pod, rule, [one["topologyKey"] for one in rules])
            least = min(counts.values(), default=0)
            if len(counts) < rule.get("minDomains", 1):
                least = 0
            itself = 1 if selects(spread_selector(pod, rule), labels(pod)) else 0
            if counts.get(labels(node)[key], 0) + itself - least > rule["maxSkew"]:
                return ["node(s) didn't match pod topology spread constraints"]
        return []

    def domains(self, pod: Tree, rule: Tree, keys: list[str]) -> dict[str, int]:
        """Pods of the rule by the value of its key, over the nodes that count."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            if any(key not in labels(node) for key in keys) or rule["topologyKey"] not in labels(node):
                continue
            if rule.get("nodeAffinityPolicy", "Honor") == "Honor" and not node_is_asked_for(pod, node):
                continue
            if rule.get("nodeTaintsPolicy") == "Honor" and self.taints(pod, node):
                continue
            value = labels(node)[rule["topologyKey"]]
            counts[value] = counts.get(value, 0) + self.counted(pod, rule, node)
        return counts

    def counted(self, pod: Tree, rule: Tree, node: Tree) -> int:
        return sum(
            namespace(other) == namespace(pod) and selects(spread_selector(pod, rule), labels(other))
            for other in self.on(node)
        )

    def neighbours(self, pod: Tree, node: Tree) -> list[str]:
        near, far = required(pod, "podAffinity"), required(pod, "podAntiAffinity")
        # every one of the Pods must be one of whom all terms speak
        friends = [(p, w) for p, w in self.placed if all(self.speaks(t, pod, p) for t in near)]
        known = [self.node_of(where) for _, where in friends]
        lonely = not any(n is not None and t["topologyKey"] in labels(n) for t in near for n in known)
        for term in near:
            key = term["topologyKey"]
            if key not in labels(node):
                return ["node(s) didn't match pod affinity rules"]
            if not any(n is not None and labels(n).get(key) == labels(node)[key] for n in known) and not (
                lonely and all(self.speaks(t, pod, pod) for t in near)
            ):
                return ["node(s) didn't match pod affinity rules"]
        for term in far:
            if any(self.speaks(term, pod, p) and self.together(term, node, w) for p, w in self.placed):
                return ["node(s) didn't match pod anti-affinity rules"]
        for other, where in self.placed:
            for term in required(other, "podAntiAffinity"):
                if self.speaks(term, other, pod) and self.together(term, node, where):
                    return ["node(s) didn't satisfy existing pods anti-affinity rules"]
        return []

    def speaks(self, term: Tree, owner: Tree, other: Tree) -> bool:
        """Whether the owner's term speaks of the other Pod."""
        space = namespace(other)
        names, selector = term.get("namespaces", []), term.get("namespaceSelector")
        if not names and selector is None:
            names = [namespace(owner)]
        if space not in names and not (selector is not None and selects(selector, self.namespaces.get(space, {}))):
            return False
        return selects(term.get("labelSelector"), labels(other))

    def together(self, term: Tree, node: Tree, where: str) -> bool:
        other, key = self.node_of(where), term["topologyKey"]
        return other is not None and key in labels(node) and labels(other).get(key) == labels(node)[key]

    # scores: a number for each of the nodes that are left

    def scores(self, pod: Tree, nodes: list[Tree]) -> dict[str, list[int]]:
        return {
            "NodeResourcesFit": [self.least_allocated(pod, node) for node in nodes],
            "NodeResourcesBalancedAllocation": [self.balanced(pod, node) for node in nodes],
            "ImageLocality": [self.images(pod, node) for node in nodes],
            "TaintToleration": scaled([self.disliked(pod, node) for node in nodes], turned=True),
            "NodeAffinity": scaled([self.preferred(pod, node) for node in nodes], turned=False),
            "PodTopologySpread": self.spread_scores(pod, nodes),
            "InterPodAffinity": self.neighbour_scores(pod, nodes),
        }

    def least_allocated(self, pod: Tree, node: Tree) -> int:
        offered, parts = amounts(node["status"]["allocatable"]), []
        for name in ("cpu", "memory"):
            if not offered.get(name):
                continue
            taken = sum(asked(one, usual=True).get(name, 0) for one in (*self.on(node), pod))
            parts.append(0 if taken > offered[name] else (offered[name] - taken) * 100 // offered[name])
        return sum(parts) // len(parts) if parts else 0

    def balanced(self, pod: Tree, node: Tree) -> int:
        if not asked(pod).get("cpu") and not asked(pod).get("memory"):
            return 0
        without = self.balance(self.on(node), node)
        return 50 + (50 + self.balance([*self.on(node), pod], node) - without) // 2

    def balance(self, pods: list[Tree], node: Tree) -> int:
        offered = amounts(node["status"]["allocatable"])
        fractions = [
            min(sum(asked(one).get(name, 0) for one in pods) / offered[name], 1.0)
            for name in ("cpu", "memory")
            if offered.get(name)
        ]
        deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
        return int((1 - deviation) * 100)

    def images(self, pod: Tree, node: Tree) -> int:
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        total = 0
        for container in containers:
            name = container["image"]
            if name.rfind(":") <= name.rfind("/"):
                name += ":latest"
            having = [n for n in self.nodes if any(name in one["names"] for one in n["status"]["images"])]
            for image in node["status"]["images"]:
                if name in image["names"]:
                    total += int(image["sizeBytes"] * (len(having) / len(self.nodes)))
        most = MANY_BYTES * len(containers)
        return 100 * (min(max(total, FEW_BYTES), most) - FEW_BYTES) // (most - FEW_BYTES)

    def disliked(self, pod: Tree, node: Tree) -> int:
        taints = node["spec"].get("taints", [])
        return sum(taint["effect"] == "PreferNoSchedule" and not tolerated(pod, taint) for taint in taints)

    def preferred(self, pod: Tree, node: Tree) -> int:
        own = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
        weighted = own.get("preferredDuringSchedulingIgnoredDuringExecution", [])
        return sum(one["weight"] for one in weighted if term_matches(one["preference"], node))

    def spread_scores(self, pod: Tree, nodes: list[Tree]) -> list[int]:
        own = pod["spec"].get("topologySpreadConstraints", [])
        rules = [one for one in own if not hard(one)]
        keys = [one["topologyKey"] for one in rules]
        if not own:
            merged: dict[str, str] = {}
            for service in self.services:
                if service["metadata"]["namespace"] == namespace(pod) and selects(
                    {"matchLabels": service["spec"]["selector"]}, labels(pod)
                ):
                    merged |= service["spec"]["selector"]
            if merged:
                selector = {"labelSelector": {"matchLabels": merged}}
                rules = [{"topologyKey": HOST, "maxSkew": 3} | selector, {"topologyKey": ZONE, "maxSkew": 5} | selector]
        if not rules:
            return [0] * len(nodes)
        ignored = [any(key not in labels(node) for key in keys) for node in nodes]
        judged = [node for node, out in zip(nodes, ignored, strict=True) if not out]
        sums = []
        for node in nodes:
            total = 0.0
            for rule in rules:
                key = rule["topologyKey"]
                if key not in labels(node):
                    continue
                places = len(judged) if key == HOST else len({labels(n).get(key, "") for n in judged})
                if key == HOST:
                    count = self.counted(pod, rule, node)
                else:
                    count = self.domains(pod, rule, keys).get(labels(node)[key], 0)
                total += count * math.log(places + 2) + (rule["maxSkew"] - 1)
            sums.append(math.floor(total + 0.5))
        kept = [one for one, out in zip(sums, ignored, strict=True) if not out]
        least, most = min(kept, default=0), max(kept, default=0)
        found = [100 if most == 0 else 100 * (most + least - one) // most for one in sums]
        return [0 if out else one for one, out in zip(found, ignored, strict=True)]

    def neighbour_scores(self, pod: Tree, nodes: list[Tree]) -> list[int]:
        sums = []
        for node in nodes:
            total = 0
            for other, where in self.placed:
                for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
                    for one in liked(pod, kind):
                        term = one["podAffinityTerm"]
                        if self.speaks(term, pod, other) and self.together(term, node, where):
                            total += sign * one["weight"]
                    for one in liked(other, kind):
                        term = one["podAffinityTerm"]
                        if self.speaks(term, other, pod) and self.together(term, node, where):
                            total += sign * one["weight"]
                for term in required(other, "podAffinity"):
                    if self.speaks(term, other, pod) and self.together(term, node, where):
                        total += 1
            sums.append(total)
        least, most = min(sums, default=0), max(sums, default=0)
        if least == most:
            return [0] * len(nodes)
        return [int(100 * ((one - least) / (most - least))) for one in sums]


WEIGHTS = {"TaintToleration": 3, "NodeAffinity": 2, "PodTopologySpread": 2, "InterPodAffinity": 2}


def labels(one: Tree) -> dict[str, str]:
    found: dict[str, str] = one["metadata"].get("labels", {})
    return found


def namespace(pod: Tree) -> str:
    return str(pod["metadata"]["namespace"])


def amounts(quantities: dict[str, str]) -> dict[str, int]:
    found = {}
    for name, text in quantities.items():
        number = int(text[:-1]) if text.endswith("m") else int(text) * (1000 if name == "cpu" else 1)
        found[name] = number
    return found


def asked(pod: Tree, *, usual: bool = False) -> dict[str, int]:
    """The most at once: all containers and sidecars, or an init container beside the sidecars before it."""
    defaults = {"cpu": 100, "memory": 200 * MEBI} if usual else {}

    def of(container: Tree) -> dict[str, int]:
        return defaults | amounts(container.get("resources", {}).get("requests", {}))

    spec = pod["spec"]
    running: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec["containers"]:
        running = plus(running, of(container))
    for container in spec.get("initContainers", []):
        if container.get("restartPolicy") == "Always":
            running, sidecars = plus(running, of(container)), plus(sidecars, of(container))
            peak = most_of(peak, sidecars)
        else:
            peak = most_of(peak, plus(sidecars, of(container)))
    return plus(most_of(running, peak), amounts(spec.get("overhead", {})))


def plus(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def most_of(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def host_ports(pod: Tree) -> list[tuple[str, str, int]]:
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), port["hostPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("hostPort")
    ]


def tolerated(pod: Tree, taint: Tree) -> bool:
    for one in pod["spec"].get("tolerations", []):
        if one.get("effect") and one["effect"] != taint["effect"]:
            continue
        if one.get("key") and one["key"] != taint["key"]:
            continue
        if one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", ""):
            return True
    return False


def node_is_asked_for(pod: Tree, node: Tree) -> bool:
    spec = pod["spec"]
    if any(labels(node).get(key) != value for key, value in spec.get("nodeSelector", {}).items()):
        return False
    own = spec.get("affinity", {}).get("nodeAffinity", {})
    wanted = own.get("requiredDuringSchedulingIgnoredDuringExecution")
    return wanted is None or any(term_matches(term, node) for term in wanted["nodeSelectorTerms"])


def term_matches(term: Tree, node: Tree) -> bool:
    expressions = term.get("matchExpressions", [])
    return bool(expressions) and all(expression_holds(one, labels(node)) for one in expressions)


def expression_holds(one: Tree, found: dict[str, str]) -> bool:
    value, values = found.get(one["key"]), one.get("values", [])
    match one["operator"]:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and value.isdigit() and int(value) > int(values[0])
        case "Lt":
            return value is not None and value.isdigit() and int(value) < int(values[0])
    raise AssertionError(one)


def selects(selector: Tree | None, found: dict[str, str]) -> bool:
    """A selector that is not there selects nothing, an empty one everything."""
    if selector is None:
        return False
    return all(found.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        expression_holds(one, found) for one in selector.get("matchExpressions", [])
    )


def spread_selector(pod: Tree, rule: Tree) -> Tree | None:
    selector = rule.get("labelSelector")
    if selector is None:
        return None
    more = {key: labels(pod)[key] for key in rule.get("matchLabelKeys", []) if key in labels(pod)}
    return {**selector, "matchLabels": more | selector.get("matchLabels", {})}


def hard(rule: Tree) -> bool:
    return bool(rule["whenUnsatisfiable"] == "DoNotSchedule")


def required(pod: Tree, kind: str) -> list[Tree]:
    found = pod["spec"].get("affinity", {}).get(kind, {})
    return list(found.get("requiredDuringSchedulingIgnoredDuringExecution", []))


def liked(pod: Tree, kind: str) -> list[Tree]:
    found = pod["spec"].get("affinity", {}).get(kind, {})
    return list(found.get("preferredDuringSchedulingIgnoredDuringExecution", []))


def scaled(counts: list[int], *, turned: bool) -> list[int]:
    most = max(counts, default=0)
    if most == 0:
        return [100 if turned else 0] * len(counts)
    found = [100 * one // most for one in counts]
    return [100 - one for one in found] if turned else found
