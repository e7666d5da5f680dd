#!/bin/sh
# Runs make targets one after the other, stops at the first that fails, and says how long each took.
#
#   steps.sh TARGET...
#
# TARGET& runs beside those after it, with what they leave of the processor, until `wait`, which is a step too: it
# shows what the one beside said, and fails if that did. There is one beside at a time.

table=''
started=$(date +%s)
beside=''
scratch=$(mktemp -d)
# Nothing goes on when the rest has failed or was interrupted.
trap 'trap "" TERM; [ -z "$beside" ] || kill -- "-$beside" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

now() { date +%s; }

run() {
    "${MAKE:-make}" --no-print-directory "$1"
}

# In a process group of its own, so that all of it can be ended.
run_beside() {
    setsid nice -n 19 sh -c '"$1" --no-print-directory "$2" >"$3/said" 2>&1; code=$?; date +%s >"$3/ended"; exit $code' \
        sh "${MAKE:-make}" "$1" "$scratch" &
    beside=$! beside_name=$1 beside_began=$(now)
}

collect() {
    code=0
    wait "$beside" || code=$?
    beside=''
    cat "$scratch/said"
    table=$(printf '%s\n%6s s  %s (beside)' "$table" "$(($(cat "$scratch/ended") - beside_began))" "$beside_name")
    return "$code"
}

for step in "$@"; do
    began=$(now)
    case $step in
    *'&')
        run_beside "${step%&}"
        continue
        ;;
    wait)
        printf '\n==== %s, which ran beside\n' "$beside_name"
        step="wait for $beside_name"
        collect
        ;;
    *)
        printf '\n==== %s\n' "$step"
        run "$step"
        ;;
    esac || {
        printf '%s\nfailed in: %s (after %s s)\n' "$table" "$step" "$(($(now) - began))" >&2
        exit 1
    }
    table=$(printf '%s\n%6s s  %s' "$table" "$(($(now) - began))" "$step")
done
printf '%s\n%6s s  in all\n' "$table" "$(($(now) - started))"
