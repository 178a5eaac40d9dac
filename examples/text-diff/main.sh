# Compares two texts with diff. There is no outputSchema, so stdout is the result as it is.
set -eu
cat >/tmp/arguments
jq -j .before </tmp/arguments >/tmp/before
jq -j .after </tmp/arguments >/tmp/after
context=$(jq '.context // 3' </tmp/arguments)

status=0
diff --unified="$context" --label before --label after /tmp/before /tmp/after || status=$?
[ "$status" -le 1 ] || exit "$status" # 1 only means that the texts differ
