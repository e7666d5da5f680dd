#!/bin/sh
# Says plainly what is missing on this machine to build WSE, all of it at once, with the way to get it.
#
#   doctor.sh             check everything; exit 1 if something is missing
#   doctor.sh --python    print the Python that the virtual environments are made with, or nothing
#
# It uses nothing but the shell's own commands, because it runs on machines that lack things. A Python that is
# named in $PYTHON is used as it is; otherwise the first of python3, python3.13, python3.12, python3.11 that is
# new enough wins.

oldest_python=3.11
missing=0

complain() {
    missing=$((missing + 1))
    printf 'missing: %s\n' "$1"
    printf '    %s\n' "$2"
}

is_python_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 && is_python_new_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# rust-toolchain.toml is the one place that names the compiler's version.
wanted_rust() {
    while IFS='"' read -r key value _; do
        case $key in channel*) printf '%s' "$value" ;; esac
    done <"${0%/*}/../rust-toolchain.toml"
}

# at_least 1.95.0 1.94.1 is false: the second version is older than the first. Two numbers decide.
at_least() {
    wanted_rest=${1#*.} found_rest=${2#*.}
    [ "${2%%.*}" -gt "${1%%.*}" ] || { [ "${2%%.*}" -eq "${1%%.*}" ] && [ "${found_rest%%.*}" -ge "${wanted_rest%%.*}" ]; }
}

check_rust() {
    wanted=$(wanted_rust)
    remedy="Install rustup (https://rustup.rs); it reads rust-toolchain.toml and brings the right version."
    if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
        complain "Rust $wanted (no 'cargo' and 'rustc' on the PATH)" "$remedy"
        return
    fi
    if ! found=$(rustc --version 2>/dev/null); then
        complain "Rust $wanted ('rustc --version' fails)" "Run 'rustup toolchain install $wanted' and read what it says."
        return
    fi
    version=${found#rustc }
    version=${version%% *}
    at_least "$wanted" "$version" || complain "Rust $wanted (found $version)" "$remedy"
}

check_c_compiler() {
    command -v cc >/dev/null 2>&1 && return
    complain "a C compiler (no 'cc' on the PATH): Rust links with it, and the cryptography is partly C" \
        "Debian, Ubuntu: apt-get install build-essential. Fedora: dnf install gcc. macOS: xcode-select --install."
}

check_python() {
    if ! python=$(find_python); then
        complain "Python $oldest_python or later (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11})" \
            "Install it, or name one: make PYTHON=/path/to/python3.12 ..."
        return
    fi
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        complain "the 'venv' module of $python" "Debian, Ubuntu: apt-get install python3-venv."
}

if [ "${1:-}" = --python ]; then
    find_python
    exit
fi

check_rust
check_c_compiler
check_python
if [ "$missing" -gt 0 ]; then
    printf '\nWSE cannot be built until then.\n'
    exit 1
fi
