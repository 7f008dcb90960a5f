"""The server in the foreground: API server, store, scheduler and controllers of one cluster. Needs no root.

It is heard on its own machine; with `--bind-address` others reach it too, and their nodes join with a token
(`carob token create`, `carob node --server URL --token TOKEN`).

With `--store etcd://…` several servers share one state: each of them answers every request, and leases in kube-system
say whose scheduler and controllers work. The servers of a cluster need the same certificate authority: the first one
makes it, the others take it with `--pki-from`. Each writes a kubeconfig beside its certificates, server/admin.kubeconfig;
with `--peer-servers` carob's own commands go on with another server when the first is gone.

Examples:
  carob server --name default        # the server part of what `carob up` starts
  carob server --name rack --bind-address 0.0.0.0 --tls-san rack.example.org
  carob server --name big --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 \\
    --etcd-cafile ca.crt --etcd-certfile client.crt --etcd-keyfile client.key
  carob server --name big --data-dir /var/lib/carob-2 --api-port 7443 --store etcd://10.0.0.1:2379 \\
    --pki-from /var/lib/carob/big/server/pki
"""

from __future__ import annotations

from pathlib import Path

from carob.cli import admission_config, audit_options, authentication, clusters, features, listening, ranges
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.base.layout import Cluster, StoreLayout
    from carob.cli.flags import Arguments, Flags

_SCHEME = "etcd://"
ETCD_PORT = 2379


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    clusters.add_name_flags(flags)
    flags.text("log-level", default="info", meta="LEVEL", help="debug, info, warning or error")
    flags.number("api-port", meta="P", help="port of a server that no `carob up` started (default: 6443)")
    listening.add_flags(flags)
    ranges.add_flags(flags)
    authentication.add_flags(flags)
    admission_config.add_flags(flags)
    features.add_flags(flags)
    audit_options.add_flags(flags)
    add_store_flags(flags)
    flags.text(
        "pki-from", meta="DIR", help="take the cluster's authority and token key from another server's pki folder"
    )
    flags.csv(
        "peer-servers", meta="URL,...", help="the cluster's other servers, for the kubeconfig that this one writes"
    )
    flags.duration("leader-elect-lease-duration", default=15.0, help="how long a silent leader's lease is respected")
    flags.duration("leader-elect-renew-deadline", default=10.0, help="how long a leader that cannot renew goes on")
    flags.duration("leader-elect-retry-period", default=2.0, help="how often a lease is renewed or asked for")


def add_store_flags(flags: Flags) -> None:
    """`--store` and who we are to it."""
    flags.text("store", meta="URL", help="keep the state in an etcd: etcd://HOST:PORT,HOST:PORT,...")
    flags.text(
        "etcd-cafile", meta="FILE", help="who signs etcd's certificates; without it connections are not encrypted"
    )
    flags.text("etcd-certfile", meta="FILE", help="the client certificate to show to etcd")
    flags.text("etcd-keyfile", meta="FILE", help="the key of that certificate")


def run(arguments: Arguments) -> int:
    """Run until SIGTERM or SIGINT."""
    from carob import standalone

    clusters.need_no_words(arguments, "carob server")
    terms = (
        arguments.leader_elect_lease_duration,
        arguments.leader_elect_renew_deadline,
        arguments.leader_elect_retry_period,
    )
    if not terms[0] > terms[1] > terms[2] > 0:
        raise CommandError(
            "error: --leader-elect-lease-duration must be longer than --leader-elect-renew-deadline, "
            "and that longer than --leader-elect-retry-period"
        )
    alone = arguments.store or listening.given(arguments) or arguments.cluster_cidr or arguments.service_cidr
    issuers = authentication.read(arguments)
    security, plugins = admission_config.read(arguments), admission_config.plugins(arguments)
    switched, audit = features.read(arguments), audit_options.read(arguments)
    cluster = _described(arguments) if alone else clusters.existing(arguments)
    authentication.put(cluster, issuers)
    admission_config.put(cluster, security, plugins)
    features.put(cluster, switched)
    audit_options.put(cluster, audit)
    return standalone.run_server(cluster, arguments.log_level, terms)


def _described(arguments: Arguments) -> Cluster:
    """The cluster of these arguments, described anew where it is not yet known here."""
    from carob.base.layout import Cluster

    cluster = clusters.load(arguments)
    if cluster is None:
        state = Path(arguments.data_dir) / arguments.name
        # two servers of one cluster may be on one machine: what they share lies in etcd alone
        cluster = Cluster(arguments.name, str(state), str(state / "run"), str(state / "log"))
        ranges.apply(cluster, arguments, new=True)
    ranges.apply(cluster, arguments, new=False)
    if arguments.store:
        cluster.store = store_of(arguments)
        cluster.store.peer_servers = [_server_url(text) for text in arguments.peer_servers]
    listening.apply(cluster, arguments)
    if "api-port" in arguments.changed:
        cluster.api_port = arguments.api_port
    if arguments.pki_from:
        _take_authority(Path(arguments.pki_from), cluster.pki_dir)
    clusters.save(cluster)
    return cluster


def store_of(arguments: Arguments) -> StoreLayout:
    """What `--store` and its companions say. Raises: CommandError."""
    from carob.base.layout import StoreLayout

    url = arguments.store
    endpoints = [part for part in url.removeprefix(_SCHEME).rstrip("/").split(",") if part]
    if not url.startswith(_SCHEME) or not endpoints:
        raise CommandError(f'error: --store: "{url}" is not etcd://HOST:PORT,..., such as etcd://127.0.0.1:2379')
    for number, endpoint in enumerate(endpoints):
        host, _, port = endpoint.rpartition(":")
        if not host or endpoint.endswith("]"):
            endpoints[number] = f"{endpoint}:{ETCD_PORT}"
        elif not port.isdigit() or not 0 < int(port) < 65536:
            raise CommandError(f'error: --store: "{endpoint}" is not HOST:PORT')
    files = (arguments.etcd_cafile, arguments.etcd_certfile, arguments.etcd_keyfile)
    if bool(files[1]) != bool(files[2]) or (files[1] and not files[0]):
        raise CommandError("error: --etcd-certfile and --etcd-keyfile belong together, and to --etcd-cafile")
    for file in files:
        if file and not Path(file).is_file():
            raise CommandError(f"error: {file} is not a file")
    ca_file, certificate_file, key_file = (str(Path(file).absolute()) if file else "" for file in files)
    return StoreLayout(endpoints, ca_file, certificate_file, key_file)


def _server_url(text: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise CommandError(f'error: --peer-servers: "{text}" is not https://HOST:PORT')
    return text


def _take_authority(source: Path, target: Path) -> None:
    """Copy what all servers of a cluster must share, unless it is there."""
    from carob.apiserver.pki import SHARED_FILES

    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in SHARED_FILES:
        file = target / name
        if file.exists():
            continue
        try:
            content = (source / name).read_bytes()
        except OSError as error:
            raise CommandError(f"error: --pki-from: cannot read {source / name}: {error.strerror}") from error
        file.touch(mode=0o600)
        file.write_bytes(content)
