#!/bin/bash
# A broker that is silent, closes, resets, sends garbage, refuses, or acknowledges wrongly: a line each and a retry; then a real one gets everything
# timeout: 300
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"
need bin/bad-broker

# Somewhere else there is a good one, whose subscriber has a session for later.
start_broker
subscribe 'grantflow/#'
"$JOB/bin/bad-broker" 1884 silent close reset garbage http refuse >"$CONFIGS/said" 2>&1 &
bad=$!
# With its own back-off, so that both are through in half the time.
"$JOB/bin/bad-broker" 1885 wrong leave drop pad >"$CONFIGS/said2" 2>&1 &
bad2=$!
BROKER=$BROKER:1884 gateway one 'in.a=? stage=one keep-alive=3s'
BROKER=$BROKER:1885 IP=10.9.0.78/24 gateway two 'in.b=? stage=two keep-alive=3s'
sensor source 'out.a=? out.b=? name.1=s count=30'
connect source one a
connect source two b
wait_powered_off source
# After the last of these ways it waits for eight seconds at the least.
wait $bad || fail "bad-broker: $(cat "$CONFIGS/said")"
rests 6 one
wait $bad2 || fail "bad-broker: $(cat "$CONFIGS/said2")"
stop_broker
start_broker "listener 1884 $BROKER" "listener 1885 $BROKER"
warned() { wait_console "$1" "warning: broker 10\.9\.0\.1:188[45] $2; trying again in [0-9]+ ms"; }
warned one 'has not answered for 3 s'
warned one 'closed the connection'
warned one 'is lost: the connection broke \(ConnectionReset\)'
warned one 'sent .*; is it an MQTT 5 broker\?'
warned one 'refuses the connection: server busy \(0x89\)'
warned two 'has not answered for 3 s'
warned two 'ended the connection: server shutting down \(0x8b\)'
warned two '(closed the connection|is lost: .*)'
warned two 'sent .*; is it an MQTT 5 broker\?'
for name in one two; do
  wait_powered_off $name
  balanced $name
  [ "$(own $name acknowledged)" = "$(own $name accepted)" ] || fail "$name: $(read_key $name data/grantflow/stats/own)"
done
[ "$(own one garbage)" = 2 ] && [ "$(own one connections)" = 1 ] || fail "$(read_key one data/grantflow/stats/own)"
[ "$(own two garbage)" = 1 ] && [ "$(own two unexpected)" = 1 ] && [ "$(own two connections)" = 4 ] ||
  fail "$(read_key two data/grantflow/stats/own)"
[ "$(warnings one)" -le 8 ] && [ "$(warnings two)" -le 8 ] || fail "$(warnings one) and $(warnings two) lines of warnings"
wait_received 60
received_exactly '' readings=60 missing=0 starts=2 mixed=0
no_crash
