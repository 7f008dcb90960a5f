# Sourced by the scripts: brings a fresh Debian 12 / Ubuntu 24.04 machine to where carob runs.
#
# setup_carob runtime|dev   system packages that are missing, .venv with pinned and hashed packages, carob itself.
# A second call finds everything in place and takes milliseconds: a stamp holds the hash of what was installed.

CAROB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CAROB_VENV="$CAROB_ROOT/.venv"

# command -> Debian package; what only the tests need comes second
CAROB_TOOLS="crun:crun conmon:conmon catatonit:catatonit skopeo:skopeo nft:nftables ip:iproute2 busybox:busybox-static tar:tar zstd:zstd conntrack:conntrack ps:procps"
CAROB_TEST_TOOLS="docker-registry:docker-registry etcd:etcd-server containerd:containerd runc:runc /usr/lib/cni/ptp:containernetworking-plugins /usr/sbin/nginx:nginx"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

setup_system() {
    local missing="" pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    if ! find_python >/dev/null; then missing="$missing python3 python3-venv"; fi
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        say "missing packages, and only root can install them:$missing"
        return 1
    fi
    command -v apt-get >/dev/null || { say "no apt-get here; please install:$missing"; return 1; }
    say "installing system packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # policy-rc.d: a package's service (docker-registry) must not start by itself
    local policy=/usr/sbin/policy-rc.d made=""
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1; fi
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
    local status=$?
    [ -n "$made" ] && rm -f "$policy"
    return $status
}

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

setup_venv() {
    local kind=$1 file stamp want python
    file="$CAROB_ROOT/requirements/$kind.txt"
    stamp="$CAROB_VENV/.carob-$kind"
    want=$(cat "$file" "$CAROB_ROOT/pyproject.toml" | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
    python=$(find_python) || { say "carob needs Python 3.11 or newer"; return 1; }
    say "preparing .venv ($kind)"
    [ -x "$CAROB_VENV/bin/python" ] || "$python" -m venv "$CAROB_VENV" || return 1
    "$CAROB_VENV/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$file" || return 1
    "$CAROB_VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps -e "$CAROB_ROOT" || return 1
    "$CAROB_VENV/bin/python" -m compileall -q "$CAROB_ROOT/src" "$CAROB_VENV/lib" >/dev/null 2>&1 || true  # a start must not compile
    # dev holds all of runtime
    [ "$kind" = dev ] && cat "$CAROB_ROOT/requirements/runtime.txt" "$CAROB_ROOT/pyproject.toml" | sha256sum >"$CAROB_VENV/.carob-runtime"
    printf '%s\n' "$want" >"$stamp"
}

setup_carob() {
    local tools=$CAROB_TOOLS
    [ "$1" = dev ] && tools="$tools $CAROB_TEST_TOOLS"
    # shellcheck disable=SC2086
    setup_system $tools && setup_venv "$1"
}
