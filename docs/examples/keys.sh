#!/bin/sh
# Two SAEs with curl: `qkd-lab exec --embedded -- docs/examples/keys.sh`.
set -eu

ask() { curl -sS --fail-with-body --cert "$1" --key "$2" --cacert "$3" -H 'Content-Type: application/json' -d "$5" "$4"; }
member() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

taken=$(ask "$SAE_A_CERT" "$SAE_A_KEY" "$SAE_A_CA" "$KME_A_URL/api/v1/keys/$SAE_B_ID/enc_keys" '{}')
id=$(echo "$taken" | member key_ID)
fetched=$(ask "$SAE_B_CERT" "$SAE_B_KEY" "$SAE_B_CA" "$KME_B_URL/api/v1/keys/$SAE_A_ID/dec_keys" "{\"key_IDs\":[{\"key_ID\":\"$id\"}]}")

[ "$(echo "$taken" | member key)" = "$(echo "$fetched" | member key)" ] || { echo "the two keys differ" >&2; exit 1; }
echo "SAE $SAE_A_ID and SAE $SAE_B_ID have the same key $id"

# A second time it is refused: curl ends with 22, and the KME says why.
if again=$(ask "$SAE_B_CERT" "$SAE_B_KEY" "$SAE_B_CA" "$KME_B_URL/api/v1/keys/$SAE_A_ID/dec_keys" "{\"key_IDs\":[{\"key_ID\":\"$id\"}]}" 2>/dev/null); then
    echo "the key came twice" >&2
    exit 1
fi
echo "asked again: $again"
