#!/bin/sh
# Runs make targets one after the other, stops at the first that fails, and says how long each took.
#
#   steps.sh TARGET...

table=''
started=$(date +%s)

now() { date +%s; }

for step in "$@"; do
    printf '\n==== %s\n' "$step"
    began=$(now)
    if ! "${MAKE:-make}" --no-print-directory "$step"; then
        printf '%s\nfailed in: %s (after %s s)\n' "$table" "$step" "$(($(now) - began))" >&2
        exit 1
    fi
    table=$(printf '%s\n%6s s  %s' "$table" "$(($(now) - began))" "$step")
done
printf '%s\n%6s s  in all\n' "$table" "$(($(now) - started))"
