#!/bin/bash
# An empty module, one without a time column, and rows that cannot be read: one line, counted, fatal only if all fail
# timeout: 300
. "$JOB/lab/lib.sh"

printf '\n' >"$CONFIGS/empty.csv"
printf 'flow,level\n1,2\n' >"$CONFIGS/timeless.csv"
printf 'time,flow\n2026-01-01T00:00:00Z,x\nsoon,2\n' >"$CONFIGS/hopeless.csv"
printf 'time,flow\n2026-01-01T00:00:00Z,1.5\nyesterday,2\n2026-01-01T02:00:00Z,3.5\n' >"$CONFIGS/mixed.csv"
for name in empty timeless hopeless; do
  ON_POWEROFF=preserve create "$name" sensor 2 "out.e=0 rate=max" "$CONFIGS/$name.csv"
done
ON_POWEROFF=preserve create mixed sensor 2 "out.e=0 rate=max" "$CONFIGS/mixed.csv"
read_edge mixed e "$CONFIGS/read"
for name in empty timeless hopeless; do
  ended_with "$name" '^error: .*'
  [[ $(state "$name") == failed\ * ]] || fail "$name ended in state '$(state "$name")'"
done
wait_console empty '^error: data\.csv: empty'
wait_console timeless '^error: .*no time column'
wait_console hopeless '^error: .*none of its 2 rows can be used; line 2'
wait_powered_off mixed
wait_console mixed 'line 3'
[ "$(counter mixed stats/stage malformed)" = 1 ] || fail "the counters say: $(read_key mixed data/grantflow/stats/stage)"
[ "$(counter mixed stats/stage used)" = 2 ] || fail "the counters say: $(read_key mixed data/grantflow/stats/stage)"
