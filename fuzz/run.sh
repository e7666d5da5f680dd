#!/bin/sh
# Fuzzes wse-core and wse-link with the compiler of this project and nothing else to install.
#
#   run.sh SECONDS [TARGET...]        fuzz for SECONDS in all, shared among the targets (without names: all of them)
#   run.sh each SECONDS [TARGET...]   fuzz each target for SECONDS, JOBS (2) at a time; the table goes to results/ too
#   run.sh keep [TARGET...]           replace the corpus/TARGET/*.kept by the few inputs that reach all that was reached
#   run.sh build                      build them and do nothing else
#   run.sh TARGET FILE...             run one target once on each file, to see a crash again
#
# It does what `cargo fuzz run -s none` does: the flags below have rustc count which edges of the code an input
# reaches and tell libFuzzer what it is compared with. What is found stays in target/corpus from run to run, crashes
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
    complain "$1" "usage: run.sh [each] SECONDS [TARGET...], run.sh keep [TARGET...], or run.sh TARGET FILE..." \
        "targets: $(echo $all)"
}

# Longer inputs cost time and reach nothing new.
max_len() {
    case $1 in
        conn_id) echo 64 ;;
        topic) echo 600 ;;
        receive | connection | deflate) echo 6000 ;;
        upgrade) echo 18000 ;;
        proxy_header) echo 4200 ;;
        category | command | jwt | msgpack | link_frames) echo 4096 ;;
        *) echo 1024 ;;
    esac
}

dictionary() {
    case $1 in
        upgrade | http_api) echo -dict=dictionaries/http.dict ;;
        proxy_header | forwarded) echo -dict=dictionaries/proxy.dict ;;
        category | command) echo -dict=dictionaries/json.dict ;;
        jwt) echo -dict=dictionaries/jwt.dict ;;
        topic) echo -dict=dictionaries/text.dict ;;
    esac
}

# stat_of TARGET NAME: a figure of the target's last run.
stat_of() {
    sed -n "s/^stat::$2: *//p" "target/$1.log"
}

# fuzz TARGET SECONDS
fuzz() {
    mkdir -p "target/corpus/$1" "artifacts/$1" "corpus/$1"
    log=target/$1.log
    status=0
    # shellcheck disable=SC2046 # no dictionary is no argument
    "$built/$1" "-max_total_time=$2" "-max_len=$(max_len "$1")" $(dictionary "$1") -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 "-artifact_prefix=artifacts/$1/" "target/corpus/$1" "corpus/$1" >"$log" 2>&1 || status=$?
    runs=$(stat_of "$1" number_of_executed_units)
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

# keep TARGET: the smallest set of inputs with the same edges, without those that are seeds already.
keep() {
    set_aside=target/keep/$1
    rm -rf "$set_aside"
    mkdir -p "$set_aside" "target/corpus/$1" "corpus/$1"
    "$built/$1" -set_cover_merge=1 -use_counters=0 "-max_len=$(max_len "$1")" -timeout=10 "$set_aside" \
        "corpus/$1" "target/corpus/$1" >"target/$1.keep.log" 2>&1 || complain "'$1' could not read its corpus: target/$1.keep.log"
    rm -f "corpus/$1"/*.kept
    for input in "$set_aside"/*; do
        name=${input##*/}
        for seed in "corpus/$1"/*.seed; do
            ! cmp -s "$input" "$seed" || continue 2
        done
        cp "$input" "corpus/$1/$(printf %.16s "$name").kept"
    done
    printf '%-10s %s inputs kept beside the seeds\n' "$1" "$(find "corpus/$1" -name '*.kept' | wc -l)"
}

# row TARGET: what its last run comes to, as a line of the table in results/.
row() {
    finding=none
    # A slow unit is written too, but stops nothing.
    ! grep -qa 'Test unit written to .*/\(crash\|timeout\|oom\|leak\)-' "target/$1.log" ||
        finding=$(grep -a -m 1 -o -e 'panicked at [^ ]*' -e 'ERROR: libFuzzer: .*' "target/$1.log" | tr '|' ' ')
    printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$(stat_of "$1" number_of_executed_units)" \
        "$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "target/$1.log")" \
        "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "target/$1.log" | tail -n 1)" \
        "$(stat_of "$1" new_units_added)" "$finding"
}

# results SECONDS TARGET...: the table of a run of each target.
results() {
    seconds=$1
    shift
    mkdir -p results
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
    changed=$(git status --porcelain --untracked-files=no -- ../crates . 2>/dev/null | head -n 1)
    file=results/$(date -u +%Y-%m-%d)-$commit.md
    {
        printf 'Each target for %s s, %s at a time, at commit %s%s, on %s cores, ended %s.\n\n' "$seconds" "$jobs" \
            "$commit" "${changed:+ with changes}" "$(getconf _NPROCESSORS_ONLN)" "$(date -u '+%Y-%m-%d %H:%M UTC')"
        echo '| target | executions | seconds | edges | new corpus entries | findings |'
        echo '|---|---|---|---|---|---|'
        for target in "$@"; do row "$target"; done
    } >"$file"
    sed -n '3,$p' "$file"
    echo "written to fuzz/$file"
}

is_number() {
    case $1 in '' | 0 | *[!0-9]*) return 1 ;; esac
}

mode=shared
case $1 in
    each | keep)
        mode=$1
        shift
        ;;
    build)
        build
        exit
        ;;
    # How `each` calls itself for one target; everything is built.
    one)
        fuzz "$2" "$3"
        exit
        ;;
esac
if [ "$mode" != keep ]; then
    [ $# -gt 0 ] && is_number "$1" || usage "'${1:-}' is no number of seconds from 1 on, and no target."
    seconds=$1
    shift
fi
[ $# -gt 0 ] || set -- $all
for target in "$@"; do
    is_target "$target" || usage "There is no target '$target'."
done
build

crashed=''
case $mode in
    shared)
        each=$((seconds / $#))
        [ "$each" -gt 0 ] || each=1
        for target in "$@"; do
            fuzz "$target" "$each" || crashed="$crashed $target"
        done
        ;;
    each)
        jobs=${JOBS:-2}
        is_number "$jobs" || complain "JOBS is '$jobs', but must be a number from 1 on."
        printf '%s\n' "$@" | xargs -P "$jobs" -I '{}' sh run.sh one '{}' "$seconds" || crashed=' see above'
        results "$seconds" "$@"
        ;;
    keep)
        for target in "$@"; do keep "$target"; done
        ;;
esac
[ -z "$crashed" ] || { echo "crashed:$crashed" >&2; exit 1; }
