#!/bin/sh
# Create the environment (first argument, default .venv) and install the study with its test tools
# into it; called by make. With LOCK=new: write requirements.lock from a new environment instead.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
log=$venv/install.log

fail() {
    echo "make: $1" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer was not found: install it, or name it as in 'make study PYTHON=/path/to/python3.11'."
}

create() { # folder of the new environment
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "$python lacks the module venv: install it (Debian and Ubuntu: apt install python3-venv)."
    echo "Creating the environment in $1 with $("$python" --version) ..."
    "$python" -m venv --clear "$1" || fail "the environment could not be created in $1."
}

pip_install() { # environment, then arguments of pip install
    environment=$1
    shift
    # PIP_ARGS holds several words on purpose
    # shellcheck disable=SC2086
    "$environment/bin/python" -m pip install --disable-pip-version-check --log "$log" ${PIP_ARGS:-} "$@" || {
        if grep -qE 'NewConnectionError|Failed to establish|name resolution|ConnectTimeout|Network is unreachable|ProxyError|NameResolutionError|Max retries exceeded' "$log"; then
            fail "the packages could not be fetched: there is no connection to the package index (details in $log)."
        fi
        fail "the packages could not be installed (details in $log)."
    }
}

if [ "${LOCK:-}" = new ]; then
    create "$venv/lock"
    log=$venv/lock/install.log
    pip_install "$venv/lock" -e '.[test]'
    {
        sed '/^[^#]/,$d' requirements.lock
        "$venv/lock/bin/python" -m pip freeze --all --exclude-editable |
            sed -e '/^pip==/d' -e '/^#/d' -e 's/+.*//'
    } >"$venv/lock/requirements.lock"
    mv "$venv/lock/requirements.lock" requirements.lock
    rm -rf "$venv/lock"
    echo "Wrote requirements.lock."
    exit 0
fi

# An environment whose making was cut short has no pip: make it again.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    create "$venv"
elif ! new_enough "$venv/bin/python"; then
    fail "the environment in $venv is older than Python 3.11: remove it with 'make distclean'."
fi
rm -f "$log"
echo "Installing the packages (about 2 GB on disk; a few minutes) ..."
pip_install "$venv" --constraint requirements.lock -e '.[test]'
rm -f "$log"
touch "$venv/.installed"
