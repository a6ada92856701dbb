#!/bin/bash
# R13 R16 R17 R18 R22 R30: a writer paused, crashed and kept, without events; a storm of events; a reader paused; xenstored stopped
# timeout: 400
# soak timeout: 1500
. "$JOB/lab/lib.sh"
need bin/vchan-hostile
vcat=$JOB/bin/vcat

leak_snapshot "$CONFIGS/before"
# The reader takes from a writer, from one that will crash, and from C programs in dom0.
probe reader 4 "in.e=?,stale=2s in.c=?,stale=2s in.s=0"
probe writer 4 "count=1000000 every=10ms out.e=?"
probe crashes 4 "do=panic-connected out.c=?"
reader=$(domid reader)
as_client=("$JOB/bin/vchan-hostile" client "$reader" "/local/domain/$reader/data/vchan/0/s")
# more NODE KEY: the reader's counter goes on.
more() {
  local before
  before=$(counter reader "$1" "$2")
  went_on() { [ "$(counter reader "$1" "$2")" -gt $((before + 20)) ]; }
  until_true "$PATIENCE" went_on "$1" "$2" || fail "the reader's $2 of $1 stand still at $before"
}
peer writer e "$reader"
peer reader e "$(domid writer)"
"${as_client[@]}" hold 2 >/dev/null &

# R13: crashed and kept. Its port is bound for as long as it is looked at, so only the deadline tells, and dom0's word ends it.
peer crashes c "$reader"
peer reader c "$(domid crashes)"
wait_crashed crashes
wait_state reader "stale c"
wait_console reader 'in\.c: its writer has said nothing for 2000 ms'
[ "$(counter reader stats/in/c reconnects)" = 0 ] || fail "the reader took silence for a loss"
more stats/in/e readings
xl destroy "${PREFIX}crashes"
wait_console reader 'in\.c: lost its writer'

# R13: paused, and read on afterwards on the same connection.
probe other 4 "count=1000000 every=10ms out.c=?"
peer other c "$reader"
peer reader c "$(domid other)" 2
wait $!
"${as_client[@]}" met stay >/dev/null &
wait_state reader running
xl pause "${PREFIX}writer"
wait_state reader "stale e"
xl unpause "${PREFIX}writer"
wait_state reader running
more stats/in/e readings
[ "$(counter reader stats/in/e reconnects)" = 0 ] || fail "a pause has cost the connection"
[ "$(counter reader stats/in/e lost)" = 0 ] || fail "a pause has cost readings"
kill $! 2>/dev/null
wait $! 2>/dev/null

# R18: a storm of events on one edge; the others get their turn. R17: and it is no loss.
"${as_client[@]}" met storm >"$CONFIGS/storm" &
for edge in e c; do more stats/in/$edge readings; done
kill $! 2>/dev/null
wait $! 2>/dev/null

# R30: xenstored stands still, and data does not.
probe source 4 "count=1000000 every=10ms out.d=0"
id=$(domid source)
"$vcat" listen "xen:$id:data/vchan/$id/d" recv:"$CONFIGS/readings" &
reading=$!
grown() { [ "$(stat -c %s "$CONFIGS/readings")" -gt "$1" ]; }
until_true "$PATIENCE" grown 300 || fail "nothing comes from the source"
store=$(pidof xenstored oxenstored) || fail "no xenstored"
# shellcheck disable=SC2086 # one, or one of each
kill -STOP $store
until_true "$PATIENCE" grown $(($(stat -c %s "$CONFIGS/readings") + 600))
going=$?
# shellcheck disable=SC2086
kill -CONT $store
[ $going = 0 ] || fail "without xenstored nothing comes from the source"
more stats/in/e readings

# R22: a reader that stands still, for ten minutes in the long form. Its writer waits with what it holds, and loses nothing.
probe slow 4 "in.f=?"
probe fast 4 "count=1000000000 out.f=?"
peer slow f "$(domid fast)"
peer fast f "$(domid slow)"
wait_state fast running
xl pause "${PREFIX}slow"
# It tells its counters once a second at most, and later on a busy machine.
full() { local was; was=$(read_key fast data/grantflow/stats/stage); sleep 3; [ "$(read_key fast data/grantflow/stats/stage)" = "$was" ]; }
until_true "$PATIENCE" full || fail "the writer of a reader that is paused goes on"
before=$(read_key fast data/grantflow/stats/stage)
[ -z "${SOAK:-}" ] || sleep 600
more stats/in/e readings
[ "$(read_key fast data/grantflow/stats/stage)" = "$before" ] || fail "the writer has gone on meanwhile"
xl shutdown "${PREFIX}fast"
xl unpause "${PREFIX}slow"
wait_powered_off fast
wait_powered_off slow
[ "$(counter slow stats/in/f readings)" = "$(counter fast stats/stage out)" ] ||
  fail "of $(counter fast stats/stage out) readings the reader that was paused got $(counter slow stats/in/f readings)"

no_crash
# R16: a sink that gets no event: it finds the bytes at its heartbeat.
probe sink 4 "do=sink in.e=0"
id=$(domid sink)
"$JOB/bin/vchan-hostile" client "$id" "/local/domain/$id/data/vchan/0/e" mute 500 consumed mute 500 consumed >/dev/null ||
  fail "bytes without an event were not read"
wait_powered_off sink
says sink edge/e '^received 1000 bytes'

kill $reading
wait $reading 2>/dev/null
for id in $(xl list | awk -v prefix="$PREFIX" 'NR > 1 && index($1, prefix) == 1 { print $2 }'); do xl destroy "$id"; done
leak_check "$CONFIGS/before"
