"""What the example of an Ingress controller tells nginx; where requests really go is tests/e2e/test_ingress.py's."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "ingress"))
from rules import CONTROLLER, Cluster, render

Tree = dict[str, Any]


def ingress(
    name: str, created: str, backend: str, port: Tree, path: str = "/", class_: str = "nginx", **spec: Any
) -> Tree:
    to = {"service": {"name": backend, "port": port}}
    rule = {"host": "a.example.com", "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": to}]}}
    return {
        "metadata": {"namespace": "default", "name": name, "creationTimestamp": created},
        "spec": {"ingressClassName": class_, "rules": [rule]} | spec,
    }


def cluster(*ingresses: Tree) -> Cluster:
    def service(name: str) -> Tree:
        ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
        return {"metadata": {"namespace": "default", "name": name}, "spec": {"ports": ports}}

    def slice_(name: str, *endpoints: Tree) -> Tree:
        labels = {"kubernetes.io/service-name": name}
        ports = [{"name": "http", "port": 8080}, {"name": "admin", "port": 9090}]
        meta = {"namespace": "default", "name": f"{name}-1", "labels": labels}
        return {"metadata": meta, "ports": ports, "endpoints": list(endpoints)}

    ready, starting = {"conditions": {"ready": True}}, {"conditions": {"ready": False}}
    return Cluster(
        ingresses={one["metadata"]["name"]: one for one in ingresses},
        classes={"nginx": {"spec": {"controller": CONTROLLER}}, "other": {"spec": {"controller": "example.com/other"}}},
        services={f"default/{name}": service(name) for name in ("web", "shop")},
        slices={
            "web": slice_("web", {"addresses": ["10.0.0.1"]} | ready, {"addresses": ["10.0.0.2"]} | starting),
            "shop": slice_("shop", {"addresses": ["fd00::1"]}),
        },
    )


def config(*ingresses: Tree) -> str:
    return render(cluster(*ingresses), lambda certificate, key: True).config


def upstreams(text: str) -> dict[str, list[str]]:
    found = re.findall(r"^upstream (\S+) {\n(.*?)^}", text, re.DOTALL | re.MULTILINE)
    return {name: re.findall(r"server (\S+);", inner) for name, inner in found}


def test_endpoints_that_are_ready_are_found_by_number_or_name_of_the_port() -> None:
    one = ingress("one", "2026-01-01T00:00:00Z", "web", {"number": 81})
    two = ingress("two", "2026-01-02T00:00:00Z", "shop", {"name": "http"}, "/shop")
    assert upstreams(config(one, two)) == {
        "default.web.81": ["10.0.0.1:9090"],
        "default.shop.80": ["[fd00::1]:8080"],
    }


def test_the_older_of_two_rules_for_one_path_counts() -> None:
    old = ingress("z", "2026-01-01T00:00:00Z", "web", {"number": 80})
    new = ingress("a", "2026-01-02T00:00:00Z", "shop", {"number": 80})
    assert re.findall(r"proxy_pass http://(\S+);", config(new, old)) == ["default.web.80"]


def test_what_leads_to_nobody_and_what_is_not_ours() -> None:
    lost = ingress("lost", "2026-01-01T00:00:00Z", "gone", {"number": 80})
    wrong = ingress("wrong", "2026-01-01T00:00:00Z", "web", {"number": 82}, "/wrong")
    foreign = ingress("foreign", "2026-01-01T00:00:00Z", "web", {"number": 80}, "/foreign", "other")
    text = config(lost, wrong, foreign)
    assert upstreams(text) == {}
    # "/", "/wrong" and what is below it
    assert text.count("return 503;") == 3
    assert "foreign" not in text


def test_a_path_is_one_word_whatever_is_in_it() -> None:
    text = config(ingress("odd", "2026-01-01T00:00:00Z", "web", {"number": 80}, '/a";}\\'))
    assert 'location = "/a\\";}\\\\" {' in text


def test_certificates_that_are_of_no_use_are_left_out() -> None:
    tls = [{"hosts": ["a.example.com"], "secretName": "cert"}]
    world = cluster(ingress("safe", "2026-01-01T00:00:00Z", "web", {"number": 80}, tls=tls))
    encoded = {name: base64.b64encode(text).decode() for name, text in (("tls.crt", b"c"), ("tls.key", b"k"))}
    world.secrets["default/cert"] = {"data": encoded}
    good, bad = render(world, lambda *pair: pair == (b"c", b"k")), render(world, lambda *pair: False)
    ((path, content),) = good.files.items()
    assert content == b"c\nk"
    assert f"ssl_certificate {path};" in good.config
    assert "ssl_certificate" not in bad.config
    assert bad.files == {}
    world.secrets["default/cert"] = {"data": {"tls.crt": "?", "tls.key": ""}}
    assert render(world, lambda *pair: True).files == {}
