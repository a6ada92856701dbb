#!/bin/bash
# A pipeline on two machines with a broker between them: every reading goes from one to the other once and in order, and its end
# machines: 2
# timeout: 120
# soak timeout: 300
. "$JOB/lab/lib.sh"
need bin/grantflow
need outside/broker

name=${PREFIX%-}
file=$CONFIGS/two-hosts.toml
# In the long form slowly, so that the broker can go away meanwhile.
rate=max
[ -z "$SOAK" ] || rate=40
sed "s#\.\./\.\./data#$JOB/data#; s#10\.0\.2\.2:1883#$(<"$JOB/outside/broker")#; s#rate = \"max\"#rate = \"$rate\"#; 1i name = \"$name\"" \
  "$JOB/pipelines/two-hosts.toml" >"$file"
"$JOB/bin/grantflow" check --images "$IMAGES" "$file" || fail "check"
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor "$file" 2>"$CONFIGS/said" && fail "up without --host"
grep -q 'hosts a, b: say with --host' "$CONFIGS/said" || fail "without --host it said: $(cat "$CONFIGS/said")"
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor --host "$MACHINE" --wait --json "$file" >"$CONFIGS/said" &
up=$!

# The broker goes away twice, for some seconds.
printed() { [ "$(grep -ac water-flow "$(console log)")" -ge "$1" ]; }
if [ "$MACHINE" = b ] && [ -n "$SOAK" ]; then
  for before in 100 600; do
    until_true "$PATIENCE" printed "$before" || fail "$before readings do not come"
    answer=$(cat <"/dev/tcp/$(tr : / <"$JOB/outside/pause")")
    [ "$answer" = back ] || fail "the broker does not come back: $answer"
  done
fi
wait "$up" || fail "up: $(cat "$CONFIGS/said")"
[ "$(grep -o '"state":"done"' "$CONFIGS/said" | wc -l)" = 2 ] || fail "not all is done: $(cat "$CONFIGS/said")"

awk -F , 'NR > 1 && $2 != "" { print $2 + 0 }' "$JOB/data/water-flow.csv" >"$CONFIGS/sent"
sent=$(wc -l <"$CONFIGS/sent")
if [ "$MACHINE" = a ]; then
  [ "$(counter flow stats/out/flow readings) $(counter flow-out stats/stage used)" = "$sent $sent" ] ||
    fail "of $sent: $(counter flow stats/out/flow readings) sent, $(counter flow-out stats/stage used) delivered"
  echo "flow-out: $(read_key flow-out data/grantflow/stats/own)"
else
  grep -a '"water-flow"' "$(console log)" | sed 's/.*"v":\([-+0-9.e]*\).*/\1/' | awk '{ print $1 + 0 }' >"$CONFIGS/got"
  cmp "$CONFIGS/sent" "$CONFIGS/got" || fail "of $sent readings $(wc -l <"$CONFIGS/got") came: $(diff "$CONFIGS/sent" "$CONFIGS/got" | head -n 5)"
  [ "$(counter flow-in stats/own lost) $(counter flow-in stats/stage used)" = "0 $sent" ] ||
    fail "flow-in: $(read_key flow-in data/grantflow/stats/own)"
  if [ -n "$SOAK" ]; then
    [ "$(counter flow-in stats/own connections)" -ge 3 ] || fail "the broker was never away: $(read_key flow-in data/grantflow/stats/own)"
  fi
  echo "flow-in: $(read_key flow-in data/grantflow/stats/own)"
fi
"$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
