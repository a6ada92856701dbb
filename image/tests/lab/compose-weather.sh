#!/bin/bash
# Ten days of the weather station without its broker: each hour's three readings are joined, each day that begins every six hours is summed up
. "$JOB/lab/lib.sh"
need bin/grantflow

name=${PREFIX%-}
head -n 241 "$JOB/data/seattle-weather-hourly-normals.csv" >"$CONFIGS/weather.csv"
# A log in the place of the gateway.
sed "s#\.\./\.\./data/seattle.*csv#$CONFIGS/weather.csv#; 1i name = \"$name\"
  s/app = \"gateway\"/app = \"log\"/; /^parameters.topic/d; /^\[broker\]/,\$d" "$JOB/pipelines/weather-station.toml" >"$CONFIGS/weather.toml"
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor --wait --json "$CONFIGS/weather.toml" >"$CONFIGS/said" ||
  fail "up: $(cat "$CONFIGS/said")"
[ "$(grep -o '"state":"done"' "$CONFIGS/said" | wc -l)" = 5 ] || fail "not all is done: $(cat "$CONFIGS/said")"
[ "$(counter hourly stats/stage out)" = 720 ] || fail "$(counter hourly stats/stage out) of 720 readings have found their hour"
windows=$(counter daily stats/stage out)
# One begins every six hours, from eighteen hours before the first reading to the last, which is midnight's; ten figures each of
# three series.
[ "$windows" = $((44 * 10 * 3)) ] || fail "$windows figures"
[ "$(counter gateway stats/stage in)" = "$windows" ] || fail "$(counter gateway stats/stage in) of $windows figures arrived"
grep -aq 'p90' "$(console gateway)" || fail "no percentiles"
"$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
echo "$windows figures"
