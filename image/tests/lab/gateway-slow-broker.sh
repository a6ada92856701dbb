#!/bin/bash
# A broker without room on its disk that stands still for 20 s, with its connections open: it is given up, and nothing is lost
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

mount -t tmpfs -o size=8k tmpfs "$BROKER_FOLDER/state" || fail "no small disk"
trap 'umount -l "$BROKER_FOLDER/state"; cleanup' EXIT
dd if=/dev/zero of="$BROKER_FOLDER/state/full" bs=4k count=2 2>/dev/null
start_broker 'autosave_on_changes true' 'autosave_interval 1'
subscribe 'grantflow/#'
gateway out 'in.e=? keep-alive=4s'
sensor source 'out.e=? name.1=s count=200 rate=20'
connect source out e
wait_received 30
[ "$(broker_said 'Saving in-memory database')" -gt 1 ] && [ ! -s "$BROKER_FOLDER/state/mosquitto.db" ] ||
  fail "the disk is not full: $(ls -l "$BROKER_FOLDER/state")"
kill -s STOP "$BROKER_PID"
wait_console out 'warning: broker 10\.9\.0\.1:1883 has not answered for 4 s; trying again in [0-9]+ ms'
wait_powered_off source
wait_state out 'waiting broker'
# It connects, greets, waits and gives up again and again.
rests 16 out
[ "$(state out)" = 'waiting broker' ] || fail "the broker stands still, and the state is '$(state out)'"
complains out 'has not answered for 4 s' 8
kill -s CONT "$BROKER_PID"
wait_powered_off out
balanced out
[ "$(own out acknowledged)" = "$(own out accepted)" ] || fail "$(read_key out data/grantflow/stats/own)"
[ "$(counter out stats/stage used)" = 200 ] || fail "$(read_key out data/grantflow/stats/stage)"
wait_received 200
received_exactly '' readings=200 missing=0 starts=1 mixed=0
account
no_crash
