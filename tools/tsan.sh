#!/bin/sh
# Runs the tests of wse-node under the thread sanitizer, which sees every access to memory and every lock.
#
#   tsan.sh [ARGUMENT...]   the arguments are those of the test programs, such as a name
#
# Only wse-node is tested: wse-core has no threads, which its clippy.toml sees to, and under Python the sanitizer would have to
# be built into the interpreter. It takes a nightly compiler. With its rust-src component the standard library is
# instrumented too; without, its compiled parts are not seen into, and tsan.supp names what is misjudged for that reason.

set -eu
cd "$(dirname "$0")/.."

if ! sysroot=$(rustc +nightly --print sysroot 2>/dev/null); then
    printf '%s\n' "missing: a nightly Rust, which has the thread sanitizer" "    rustup toolchain install nightly" >&2
    exit 2
fi
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
flags='-Zsanitizer=thread'
build_std=''
if [ -d "$sysroot/lib/rustlib/src/rust/library" ]; then
    build_std='-Zbuild-std'
else
    echo "the standard library is not instrumented; for that: rustup component add --toolchain nightly rust-src" >&2
    flags="$flags -Cunsafe-allow-abi-mismatch=sanitizer"
fi

# A finding does not end the program, so that one run shows all; it makes it end with 66.
export TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp exitcode=66 history_size=4 ${TSAN_OPTIONS:-}"
export RUSTFLAGS="$flags" CARGO_PROFILE_DEV_OPT_LEVEL=1
# shellcheck disable=SC2086 # no -Zbuild-std is no argument
exec cargo +nightly test --quiet --locked $build_std --target "$host" --target-dir target/tsan -p wse-node --lib --tests -- "$@"
