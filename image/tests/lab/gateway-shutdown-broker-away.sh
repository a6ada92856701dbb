#!/bin/bash
# xl shutdown while the broker is away, from the start or in the middle: the gateway ends, and what it could not deliver is counted
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

start_broker
subscribe 'grantflow/#'
BROKER=$BROKER:1999 gateway never 'in.a=? stage=never'
IP=10.9.0.78/24 gateway lost 'in.b=? stage=lost'
sensor source 'out.a=? out.b=? name.1=s count=0 rate=50'
connect source never a
connect source lost b
wait_received 50
# Not in order: what it has not acknowledged stays with the gateway.
kill_broker
wait_state lost 'waiting broker'
wait_state never 'waiting broker'
queues() { [ "$(own lost queued)" -gt 20 ]; }
until_true "$PATIENCE" queues || fail "$(read_key lost data/grantflow/stats/own)"
for name in never lost; do xl shutdown "$PREFIX$name" || fail "xl shutdown $name"; done
for name in never lost; do
  wait_powered_off $name
  [ "$(state $name)" = 'done' ] || fail "$name ended in state '$(state $name)'"
  balanced $name
  [ "$(own $name queued)" = 0 ] && [ "$(own $name end)" -gt 5 ] || fail "$name: $(read_key $name data/grantflow/stats/own)"
  [ "$(counter $name stats/stage undelivered)" -gt 5 ] || fail "$name: $(read_key $name data/grantflow/stats/stage)"
done
[ "$(own never acknowledged)" = 0 ] && [ "$(counter never stats/stage used)" = 0 ] || fail "$(read_key never data/grantflow/stats/own)"
[ "$(received messages)" -ge "$(own lost acknowledged)" ] || fail "$(account), but $(own lost acknowledged) were acknowledged"
[ "$(received readings)" -ge "$(counter lost stats/stage used)" ] || fail "$(account), but $(counter lost stats/stage used) were used"
no_crash
