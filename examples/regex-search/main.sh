# Searches a text with grep. The caller's pattern goes through a file, so that it can never
# become an option; jq takes the arguments apart and puts the result together.
set -eu
cat >/tmp/arguments
jq -j .pattern </tmp/arguments >/tmp/pattern
limit=$(jq '.limit // 100' </tmp/arguments)
case=$(jq -r 'if .ignore_case then "--ignore-case" else "--no-ignore-case" end' </tmp/arguments)

status=0
jq -j .text </tmp/arguments |
  grep --extended-regexp --line-number --text --max-count "$limit" "$case" --file /tmp/pattern \
    >/tmp/matches || status=$?
[ "$status" -le 1 ] || exit "$status" # 1 only means that nothing matched

jq --raw-input --null-input \
  '{matches: [inputs | capture("^(?<line>[0-9]+):(?<text>.*)$"; "s") | .line |= tonumber]}' </tmp/matches
