# Computes checksums with coreutils: ordinary Unix programs, one pipe each.
set -eu
jq -j .data | base64 --decode >/tmp/data

digest() { "$1" </tmp/data | cut -d ' ' -f 1; }

jq --null-input --argjson bytes "$(wc -c </tmp/data)" \
  --arg sha256 "$(digest sha256sum)" --arg sha384 "$(digest sha384sum)" --arg blake2b "$(digest b2sum)" \
  '{$bytes, $sha256, $sha384, $blake2b}'
