#!/bin/bash
# A small queue while the broker is away: what went is counted, and what comes afterwards is exactly the rest, under both policies
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

# There is one, with a session for later, but nobody listens where they look for it.
start_broker
subscribe 'q/#'
BROKER=$BROKER:1884 gateway oldest 'in.a=? stage=oldest topic=q/oldest queue=4K drop=oldest'
BROKER=$BROKER:1884 IP=10.9.0.78/24 gateway newest 'in.b=? stage=newest topic=q/newest queue=4K drop=newest'
sensor source 'out.a=? out.b=? name.1=s count=300 rate=100'
connect source oldest a
connect source newest b
wait_powered_off source
declare -A queued
for name in oldest newest; do
  took_all() { [ "$(counter $name stats/stage in)" = 300 ]; }
  until_true "$PATIENCE" took_all || fail "$name: $(read_key $name data/grantflow/stats/stage)"
  wait_state $name 'waiting broker'
  balanced $name
  queued[$name]=$(own $name queued)
  [ "${queued[$name]}" -gt 5 ] && [ "$(own $name queue)" -gt 5 ] || fail "$name: $(read_key $name data/grantflow/stats/own)"
  [ "$(counter $name stats/stage undelivered)" -gt 5 ] || fail "$name: $(read_key $name data/grantflow/stats/stage)"
done
stop_broker
start_broker "listener 1884 $BROKER"
for name in oldest newest; do
  wait_powered_off $name
  balanced $name
  used=$(counter $name stats/stage used)
  [ $((used + $(counter $name stats/stage undelivered))) = 300 ] || fail "$name: $(read_key $name data/grantflow/stats/stage)"
  [ "$(own $name acknowledged)" = "${queued[$name]}" ] || fail "$name had ${queued[$name]} messages: $(read_key $name data/grantflow/stats/own)"
  wait_received "$used" q/$name
  received_exactly q/$name "readings=$used" "messages=${queued[$name]}" again=0 mixed=0
done
# The first numbers are missing, up to the highest; or the first is there.
received_exactly q/oldest "missing=$(own oldest queue)"
grep -q $'\tq/newest\tid:[0-9a-f]*-1\t' "$RECEIVED" || fail "newest dropped its oldest"
no_crash
