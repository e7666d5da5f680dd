#!/bin/sh
# Fuzzes wse-core with the compiler of this project and nothing else to install.
#
#   run.sh SECONDS [TARGET...]   fuzz for SECONDS in all, shared among the targets (without names: all of them)
#   run.sh TARGET FILE...        run one target once on each file, to see a crash again
#
# It does what `cargo fuzz run -s none` does: the flags below have rustc count which edges of the code an input
# reaches and tell libFuzzer what it is compared with. What is found is kept in target/corpus from run to run, crashes
# in artifacts. Exits with 1 if a target crashed, after all have had their time, and with 2 if nothing could be run.

set -eu
started_in=$PWD
cd "$(dirname "$0")"

complain() {
    printf '%s\n' "$@" >&2
    exit 2
}

command -v cargo >/dev/null 2>&1 || complain "missing: Rust (no 'cargo' on the PATH); install rustup: https://rustup.rs"
command -v "${CXX:-c++}" >/dev/null 2>&1 || complain \
    "missing: a C++ compiler (no '${CXX:-c++}' on the PATH), which builds libFuzzer" \
    "    Debian, Ubuntu: apt-get install g++. Fedora: dnf install gcc-c++. macOS: xcode-select --install."

all=$(cd fuzz_targets && ls -- *.rs | sed 's/\.rs$//')
host=$(rustc -vV | sed -n 's/^host: //p')
built=target/$host/release
flags='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4'
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"

# With a target triple named, the flags reach the code that is fuzzed and not the build scripts. Not --locked: what wse-core
# has come to depend on since is added to Cargo.lock, to be committed with it.
build() {
    RUSTFLAGS=$flags cargo build --quiet --release --target "$host" --target-dir target ||
        complain "The fuzz targets could not be built."
}

is_target() {
    printf '%s\n' "$all" | grep -qxF -- "$1"
}

usage() {
    complain "$1" "usage: run.sh SECONDS [TARGET...], or run.sh TARGET FILE..." "targets: $(echo $all)"
}

# Longer inputs cost time and reach nothing new.
max_len() {
    case $1 in
        conn_id) echo 64 ;;
        topic) echo 600 ;;
        receive) echo 6000 ;;
        upgrade) echo 18000 ;;
        category | command | jwt) echo 4096 ;;
        *) echo 1024 ;;
    esac
}

dictionary() {
    case $1 in
        upgrade) echo -dict=dictionaries/http.dict ;;
        category | command) echo -dict=dictionaries/json.dict ;;
        jwt) echo -dict=dictionaries/jwt.dict ;;
        topic) echo -dict=dictionaries/text.dict ;;
    esac
}

# fuzz TARGET SECONDS
fuzz() {
    mkdir -p "target/corpus/$1" "artifacts/$1" "corpus/$1"
    log=target/$1.log
    status=0
    # shellcheck disable=SC2046 # no dictionary is no argument
    "$built/$1" "-max_total_time=$2" "-max_len=$(max_len "$1")" $(dictionary "$1") -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 "-artifact_prefix=artifacts/$1/" "target/corpus/$1" "corpus/$1" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-10s %4s s %11s runs %6s edges' "$1" "$2" "${runs:-?}" "${coverage:-?}"
    [ "$status" -ne 0 ] || { echo; return 0; }
    artifact=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
    printf '   CRASH (status %s)\n' "$status"
    grep -a -A 4 -e 'panicked at' -e 'ERROR: libFuzzer' "$log" | sed 's/^/    /'
    printf '    see it again:  fuzz/run.sh %s fuzz/%s\n    make it small: fuzz/%s/%s -minimize_crash=1 -max_total_time=60 fuzz/%s\n' \
        "$1" "$artifact" "$built" "$1" "$artifact"
    return 1
}

[ $# -gt 0 ] || usage "How long shall it run?"

if is_target "$1"; then
    [ $# -gt 1 ] || usage "No file is named to run '$1' on."
    target=$1
    shift
    build
    program=$PWD/$built/$target
    cd "$started_in"
    exec "$program" "$@"
fi

case $1 in
    '' | 0 | *[!0-9]*) usage "'$1' is no number of seconds from 1 on, and no target." ;;
esac
seconds=$1
shift
[ $# -gt 0 ] || set -- $all
for target in "$@"; do
    is_target "$target" || usage "There is no target '$target'."
done

build
each=$((seconds / $#))
[ "$each" -gt 0 ] || each=1
crashed=''
for target in "$@"; do
    fuzz "$target" "$each" || crashed="$crashed $target"
done
[ -z "$crashed" ] || { echo "crashed:$crashed" >&2; exit 1; }
