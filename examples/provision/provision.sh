#!/usr/bin/env bash
# Registers the devices of a JSONL file over the admin API with curl and jq, and writes a credentials file for each.
#
#   ADMIN_URL=http://127.0.0.1:8081 API_KEY_FILE=provisioner.key ./provision.sh sensor devices.jsonl credentials
#
# Run again after it was stopped, it goes on: OUT/job.json has what it needs, and is removed at the end. What the issuer
# has done already it answers again, with the same secrets.
set -euo pipefail
umask 077

template=$1 rows=$2 out=$3
batch=200

api() { # METHOD PATH [BODY]
  curl --silent --show-error --fail-with-body --retry 5 --retry-all-errors --request "$1" "$ADMIN_URL$2" \
    --header @<(printf 'api-key: %s' "$(cat "$API_KEY_FILE")") ${3:+--header 'content-type: application/json' --data-binary "@$3"}
}

mkdir -p "$out"
job=$out/job.json
if [ ! -f "$job" ]; then
  jq -n --arg template "$template" --argjson total "$(grep -c . "$rows")" '{$template, $total}' > "$out/new.json"
  api POST /v1/provisioning-jobs "$out/new.json" > "$job.part" && mv "$job.part" "$job"
fi
id=$(jq -r .job_id "$job")
total=$(jq -r .total "$job")
issuer=$(api GET /v1/issuer | jq -r .issuer)

# From the beginning: rows that are done cost little, and a file that was not written is written now.
for ((first = 1; first <= total; first += batch)); do
  grep . "$rows" | sed -n "$first,$((first + batch - 1))p" |
    jq --slurp --slurpfile job "$job" --argjson first "$first" \
      '{job_key: $job[0].job_key, first_row: $first, rows: .}' > "$out/rows.json"
  api POST "/v1/provisioning-jobs/$id/rows" "$out/rows.json" > "$out/results.json"
  jq --compact-output --arg issuer "$issuer" '.results[] | select(.client_secret) | {
      version: 1, client_id, issuer: $issuer, audience: .audience[0],
      auth: {method: "client_secret_basic", client_secret}
    }' "$out/results.json" |
    while IFS= read -r credentials; do
      jq . <<< "$credentials" > "$out/$(jq -r .client_id <<< "$credentials").json"
    done
  jq -r '.results[] | select(.outcome == "failed") | "row \(.row): \(.error_description)"' "$out/results.json" >&2
done
api GET "/v1/provisioning-jobs/$id" | jq '{state, created, failed, total}'
rm "$job" "$out/rows.json" "$out/results.json" "$out/new.json"
