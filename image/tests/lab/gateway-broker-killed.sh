#!/bin/bash
# A broker killed twenty times (a hundred in the long form): whatever two gateways were about to do, every reading is there
# timeout: 300
# soak timeout: 900
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

start_broker 'autosave_on_changes true' 'autosave_interval 1'
subscribe 'grantflow/#'
gateway one 'in.a=? stage=one'
IP=10.9.0.78/24 gateway two 'in.b=? stage=two'
sensor source 'out.a=? out.b=? name.1=s count=0 rate=30'
connect source one a
connect source two b
wait_received 20
rounds=20
[ -z "${SOAK:-}" ] || rounds=100
for ((round = 1; round <= rounds; round++)); do
  # Not in step with anything else.
  sleep 0.$((RANDOM % 9 + 1))
  kill_broker
  start_broker
done
xl shutdown "${PREFIX}source" || fail "xl shutdown"
wait_powered_off source
for name in one two; do
  wait_powered_off $name
  balanced $name
  [ "$(own $name acknowledged)" = "$(own $name accepted)" ] || fail "$name: $(read_key $name data/grantflow/stats/own)"
  [ "$(own $name connections)" -gt 2 ] || fail "$name had $(own $name connections) connections alone"
done
readings=$(($(counter one stats/stage used) + $(counter two stats/stage used)))
[ $readings -gt 100 ] || fail "$readings readings alone"
wait_received $readings
received_exactly '' readings=$readings missing=0 starts=2 mixed=0
echo "$(account); connections: $(own one connections) and $(own two connections); sent again: $(own one resent) and $(own two resent)"
no_crash
