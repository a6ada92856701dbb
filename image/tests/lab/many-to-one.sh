#!/bin/bash
# Many sensors into one aggregator, 32 in the long form, by one command that waits: every reading is counted there, over every edge
# timeout: 120
# soak timeout: 300
. "$JOB/lab/lib.sh"
need bin/grantflow

sensors=${SOAK:+32}
sensors=${sensors:-6}
name=${PREFIX%-}
folder=$CONFIGS/many
mkdir "$folder"
# Each replays its own part of the recording.
rows=$(($(wc -l <"$JOB/data/water-flow.csv") - 1))
{
  printf 'name = "%s"\n[[stage]]\nname = "all"\napp = "aggregator"\nparameters = { window = "24h", results = "console" }\n' "$name"
  for ((n = 0; n < sensors; n++)); do
    { head -n 1 "$JOB/data/water-flow.csv" && tail -n +2 "$JOB/data/water-flow.csv" | awk "NR % $sensors == $n"; } >"$folder/$n.csv"
    printf '[[stage]]\nname = "s%d"\napp = "sensor"\ndata = "%d.csv"\nparameters = { rate = "max", name.1 = "flow:%d", unit.1 = "l/s" }\n' $n $n $n
    printf '[[edge]]\nfrom = "s%d"\nto = "all"\n' $n
  done
} >"$folder/many.toml"
start=$(now)
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor --wait --json "$folder/many.toml" >"$CONFIGS/said" || fail "up: $(cat "$CONFIGS/said")"
took=$(($(now) - start))
[ "$(grep -o '"state":"done"' "$CONFIGS/said" | wc -l)" = $((sensors + 1)) ] || fail "not all is done: $(cat "$CONFIGS/said")"
[ "$(counter all stats/stage in)" = $rows ] || fail "$(counter all stats/stage in) of $rows readings arrived: $(read_key all data/grantflow/stats/stage)"
[ "$(counter all stats/stage used)" = $rows ] || fail "$(counter all stats/stage used) of $rows readings were used: $(read_key all data/grantflow/stats/stage)"
for ((n = 0; n < sensors; n++)); do
  own=$(($(wc -l <"$folder/$n.csv") - 1))
  [ "$(counter s$n stats/stage out) $(counter all stats/in/s$n readings) $(counter all stats/in/s$n lost)" = "$own $own 0" ] ||
    fail "s$n: $own rows; $(read_key all data/grantflow/stats/in/s$n)"
done
echo "$rows readings of $sensors sensors, up and done in $took ms; the aggregator has $(xl list "${PREFIX}all" | awk 'NR == 2 { print $3 }') MiB"
no_crash
"$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
[ "$(xl list | grep -c "$PREFIX")" = 0 ] || fail "left: $(xl list)"
