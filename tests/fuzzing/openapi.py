"""schemathesis reads the OpenAPI documents that a server publishes, and sends what they allow and what they do not: no 5xx, no
answer that takes too long, no traceback in the server's log.

`scripts/soak openapi [EXAMPLES [SEED [DOCUMENTS]]]`: EXAMPLES by lot for each operation, behind those that cover each constraint
of the document once (142,000 for `api/v1`, in five minutes); DOCUMENTS is a regular expression for the paths of the documents to
read. The requests of `scripts/soak requests` go deeper, because a document does not say what makes a manifest a good one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from carob.apiserver.pki import Pki
from carob.transport.tls import client_context
from tests.fuzzing.cluster import fuzzed_cluster, report

if TYPE_CHECKING:
    from carob.base.layout import Cluster

EXAMPLES = 20
PATIENCE_SECONDS = 60
# a watch answers as long as one listens, so nobody asks for one here; connections are no requests
CONFIGURATION = """
[parameters]
"query.watch" = "false"
"query.follow" = "false"
"query.timeoutSeconds" = 1
"""
NO_REQUESTS = "/watch/|/(exec|attach|portforward|proxy)(/|$)"


def documents(base: str, pki: Pki, wanted: str) -> list[str]:
    """Where the documents of group versions are whose path `wanted` finds."""
    tls = client_context(
        ca_file=str(pki.ca.certificate),
        certificate_file=str(pki.admin.certificate),
        key_file=str(pki.admin.key),
    )
    with urlopen(f"{base}/openapi/v3", context=tls, timeout=PATIENCE_SECONDS) as answer:
        paths = json.load(answer)["paths"]
    return [f"{base}{found['serverRelativeURL']}" for path, found in sorted(paths.items()) if re.search(wanted, path)]


def fuzz(cluster: Cluster, examples: int, seed: int, wanted: str) -> list[str]:
    """The documents whose operations did not stand it; what was met is printed."""
    base, pki = f"https://127.0.0.1:{cluster.api_port}", Pki(cluster.pki_dir)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="carob-soak-") as folder:
        configuration = Path(folder) / "schemathesis.toml"
        configuration.write_text(CONFIGURATION)
        for document in documents(base, pki, wanted):
            print(document, flush=True)
            options = {
                "--url": base,
                "--checks": "not_a_server_error",
                "--phases": "coverage,fuzzing",
                "--max-examples": examples,
                "--seed": seed,
                "--tls-verify": pki.ca.certificate,
                "--request-cert": pki.admin.certificate,
                "--request-cert-key": pki.admin.key,
                "--request-timeout": PATIENCE_SECONDS,
                "--exclude-path-regex": NO_REQUESTS,
                "--suppress-health-check": "all",
                "--warnings": "off",
            }
            flags = [str(part) for option in options.items() for part in option]
            command = ["schemathesis", "--config-file", str(configuration), "run", document, *flags]
            if subprocess.run(command, cwd=folder, check=False).returncode:
                failed.append(document)
    return failed


def main(examples: int = EXAMPLES, seed: int | None = None, *, wanted: str = "") -> int:
    """The exit code."""
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    faults: list[str] = []
    with fuzzed_cluster(faults) as (cluster, _):
        print(f"seed {seed}", flush=True)
        faults += fuzz(cluster, examples, seed, wanted)
    return report(faults, f"{examples} requests for each operation")


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[1:3]]
    sys.exit(main(*numbers, wanted="".join(sys.argv[3:4])))
