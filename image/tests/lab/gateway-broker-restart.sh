#!/bin/bash
# A broker that ends twice in order and once by SIGKILL while readings come: all are there, and what came twice has the same id
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

# What it writes down at each change outlives SIGKILL: the subscriber's session, that is.
start_broker 'autosave_on_changes true' 'autosave_interval 1'
subscribe 'grantflow/#'
gateway out 'in.e=?'
sensor source 'out.e=? name.1=s count=0 rate=40'
connect source out e
connections=1
for end in stop_broker stop_broker kill_broker; do
  connected() { [ "$(own out connections)" = $connections ] && [ "$(state out)" = running ]; }
  until_true "$PATIENCE" connected || fail "not connected: $(read_key out data/grantflow/stats/own)"
  # It takes no more, so that messages are in flight when it ends.
  kill -s STOP "$BROKER_PID"
  in_flight() { [ $(($(own out published) - $(own out acknowledged))) -gt 5 ]; }
  until_true "$PATIENCE" in_flight || fail "nothing is in flight: $(read_key out data/grantflow/stats/own)"
  $end
  wait_state out 'waiting broker'
  start_broker
  connections=$((connections + 1))
done
until_true "$PATIENCE" connected || fail "not connected: $(read_key out data/grantflow/stats/own)"
xl shutdown "${PREFIX}source" || fail "xl shutdown"
wait_powered_off source
wait_powered_off out
balanced out
readings=$(counter out stats/stage in)
[ "$readings" = "$(counter source stats/out/e readings)" ] || fail "$(read_key source data/grantflow/stats/out/e)"
[ "$(counter out stats/stage used)" = "$readings" ] || fail "$(read_key out data/grantflow/stats/stage)"
[ "$(own out acknowledged)" = "$(own out accepted)" ] && [ "$(own out resent)" -gt 5 ] ||
  fail "$(read_key out data/grantflow/stats/own)"
wait_received "$readings"
received_exactly '' "readings=$readings" missing=0 starts=1 mixed=0
echo "$(account); connections: $(own out connections); sent again: $(own out resent)"
no_crash
