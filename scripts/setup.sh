# Sourced by the scripts beside it: makes .venv what the locks say, and says what else is missing.
# Nothing but a Python of 3.11 or newer is assumed. The second time nothing is done.

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

say() { printf 'callreel: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }

# Debian packages, where we may install them.
apt_install() {
    is_root && command -v apt-get >/dev/null || return 1
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >&2 </dev/null
}

find_python() {
    local name
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    fail "Python 3.11 or newer is needed. Install it, or name it: PYTHON=/path/to/python $0"
}

# setup_python LOCK: install exactly what the lock names, then the project itself, editable.
setup_python() {
    local lock="$ROOT/$1" stamp="$VENV/.installed-$1" python
    if [ -x "$VENV/bin/python" ] && cmp -s "$lock" "$stamp" && cmp -s <(project_stamp) "$VENV/.installed-project"; then
        return
    fi
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python="$(find_python)"
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" ||
            fail "$python cannot make virtual environments. On Debian: apt-get install python3-venv"
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear "$VENV"
    fi
    if ! cmp -s "$lock" "$stamp"; then
        say "installing $1 (the first time takes a minute)"
        rm -f "$VENV"/.installed-*
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" </dev/null
    fi
    # What builds the project is in the lock too, so nothing else is fetched.
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        -e "$ROOT" </dev/null
    cp "$lock" "$stamp"
    # The development lock holds all of the other, so `run` after `test` has nothing to do.
    [ "$1" != requirements-dev.lock ] || cp "$ROOT/requirements.lock" "$VENV/.installed-requirements.lock"
    project_stamp >"$VENV/.installed-project"
}

# What an editable installation depends on: where it is, and how it is described.
project_stamp() { echo "$ROOT"; cat "$ROOT/pyproject.toml"; }

setup_chromium() {
    local name
    [ -z "${CALLREEL_CHROMIUM:-}" ] || return 0
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then
            CALLREEL_CHROMIUM="$(command -v "$name")"
            export CALLREEL_CHROMIUM
            return
        fi
    done
    apt_install chromium || fail "Chromium is missing, the browser tests need it. On Debian: apt-get install chromium.
    Or name one: CALLREEL_CHROMIUM=/path/to/chrome $0"
    CALLREEL_CHROMIUM="$(command -v chromium)"
    export CALLREEL_CHROMIUM
}

# What some tests need, and skip without: a proxy, and the first process of a container.
setup_programs() {
    local path="$PATH:/usr/sbin:/usr/local/sbin"
    { PATH="$path" command -v nginx && PATH="$path" command -v tini; } >/dev/null || apt_install nginx-light tini ||
        say "nginx or tini is missing: what is tested with them is left out. On Debian: apt-get install nginx-light tini"
}

setup_node() {
    { command -v node && command -v npm; } >/dev/null || apt_install nodejs npm ||
        fail "Node.js and npm are missing, the type check of the browser's half needs them. On Debian: apt-get install nodejs npm"
    local stamp="$ROOT/web_client/node_modules/.installed-package-lock.json"
    cmp -s "$ROOT/web_client/package-lock.json" "$stamp" && return
    (cd "$ROOT/web_client" && npm ci --silent --no-audit --no-fund </dev/null)
    cp "$ROOT/web_client/package-lock.json" "$stamp"
}
