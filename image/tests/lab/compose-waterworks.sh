#!/bin/bash
# The waterworks without its broker, brought up by one command that waits: the four anomalies are found, and the valve is shut and opened for each
. "$JOB/lab/lib.sh"
need bin/grantflow

name=${PREFIX%-}
# A log in the place of the gateway, and no weather.
sed "s#\.\./\.\./data#$JOB/data#; 1i name = \"$name\"
  s/app = \"gateway\"/app = \"log\"/; /^parameters.topic/d; /^\[broker\]/,\$d" "$JOB/pipelines/waterworks.toml" |
  awk 'BEGIN { RS = ""; ORS = "\n\n" } !/"weather"/' >"$CONFIGS/waterworks.toml"
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor --wait --json "$CONFIGS/waterworks.toml" >"$CONFIGS/said" ||
  fail "up: $(cat "$CONFIGS/said")"
[ "$(grep -o '"state":"done"' "$CONFIGS/said" | wc -l)" = 7 ] || fail "not all is done: $(cat "$CONFIGS/said")"
[ "$(counter alarm stats/stage in)" = 3804 ] || fail "$(counter alarm stats/stage in) readings of three series reached the detector"
for stage in control valve; do
  moves="$(counter $stage stats/own opened) $(counter $stage stats/own closed)"
  [ "$moves" = "4 4" ] || fail "$stage: opened and closed $moves times"
done
[ "$(counter valve stats/in/commands lost)" = 0 ] || fail "commands were lost"
grep -aq '"bn":"valve:mean"' "$(console gateway)" || fail "no window of the valve"
"$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
echo "4 anomalies, 8 commands"
