#!/bin/sh
# Makes the environment that the Autobahn suite runs in, under build/autobahn/, or finds it made.
#
#   setup.sh              prints the directory of the environment
#   setup.sh --python     prints the Python 2.7 that it is made with, or nothing
#
# The suite is a program for Python 2.7, and there it stays; nothing of WSE runs under that. Exit 3 says that there is no
# Python 2.7 here, which the caller may forgive; exit 1 says that something went wrong, and what.
# A Python that is named in $PYTHON27 is used as it is; otherwise python2.7 on the PATH, then those of pyenv.

set -eu
here=$(cd "${0%/*}" && pwd)
root=${here%/*}
place=$root/build/autobahn
pyenv_versions=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions

is_python27() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' >/dev/null 2>&1
}

find_python27() {
    if [ -n "${PYTHON27:-}" ]; then
        is_python27 "$PYTHON27" || return 1
        printf '%s\n' "$PYTHON27"
        return
    fi
    # What pyenv puts on the PATH is a shim, which fails where another version is chosen: so each is tried.
    for candidate in "$(command -v python2.7)" "$pyenv_versions"/2.7*/bin/python2.7; do
        if [ -n "$candidate" ] && is_python27 "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

if ! python27=$(find_python27); then
    [ "${1:-}" = --python ] && exit 3
    printf 'missing: Python 2.7, which the Autobahn suite runs under (tried: %s)\n' \
        "${PYTHON27:-python2.7 on the PATH, $pyenv_versions/2.7*}" >&2
    printf '    Install it with pyenv (pyenv install 2.7.18), or name one: make autobahn PYTHON27=/path/to/python2.7\n' >&2
    exit 3
fi
if [ "${1:-}" = --python ]; then
    printf '%s\n' "$python27"
    exit
fi

# What was installed, from where: when any of it changes the environment is made anew.
wanted=$(printf '%s\n' "$python27" && cat "$here"/requirements/*.txt)
if [ "$(cat "$place/ready" 2>/dev/null || true)" != "$wanted" ]; then
    printf 'making the environment of the Autobahn suite, once, in %s\n' "$place" >&2
    rm -rf "$place/ready" "$place/maker" "$place/suite"
    mkdir -p "$place"
    python=$(sh "$root/tools/doctor.sh" --python) || {
        printf 'missing: Python 3.11 or later; see make doctor\n' >&2
        exit 1
    }
    pip='-m pip install --quiet --disable-pip-version-check --require-hashes'
    "$python" -m venv "$place/maker" >&2
    # shellcheck disable=SC2086 # the options are several words
    "$place/maker/bin/python" $pip -r "$here/requirements/virtualenv.txt" >&2
    "$place/maker/bin/virtualenv" --quiet --no-periodic-update --python "$python27" "$place/suite" >&2
    # shellcheck disable=SC2086
    "$place/suite/bin/python" -W ignore $pip --no-deps --no-python-version-warning \
        -r "$here/requirements/suite.txt" >&2
    printf '%s\n' "$wanted" >"$place/ready"
fi
printf '%s\n' "$place/suite"
