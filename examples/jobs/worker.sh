#!/usr/bin/env bash
# A worker that tells how far it is, with curl. server.py tells the rest.
#
#     WSE_API_KEY=... bash worker.sh "Copy the backup" [steps] [seconds]

set -euo pipefail

url=${WSE_URL:-http://localhost:5007}
name=${1:-Copy the backup}
steps=${2:-10}
seconds=${3:-1}
job=$(hostname)-$$

# The key goes by a pipe: as an argument everybody on this machine could read it in the list of processes.
publish() {
    curl --silent --show-error --fail-with-body --retry 3 --output /dev/null \
        --header @<(printf 'Authorization: Bearer %s' "$WSE_API_KEY") \
        --header 'Content-Type: application/json' --data @- "$url/api/publish"
}

quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

tell() {
    printf '{"topic":"jobs","data":{"t":"job.progress","p":{"job":%s,"name":%s,"worker":%s,"of":%d,"done":%d,"state":"%s"}}}' \
        "$(quoted "$job")" "$(quoted "$name")" "$(quoted "$(hostname)")" "$steps" "$1" "$2" |
        publish || echo "not told: step $1" >&2
}

tell 0 running
for ((step = 1; step <= steps; step++)); do
    sleep "$seconds" # here is your work
    tell "$step" "$([[ $step == "$steps" ]] && echo done || echo running)"
done
