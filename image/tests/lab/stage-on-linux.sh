#!/bin/bash
# S6: a stage as a program in dom0, between two unikernels: every reading, its state and counters in xenstore, peers that die and come back, killed, drained
# timeout: 300
. "$JOB/lab/lib.sh"
need bin/filter

own=/local/domain/0
xenstore-rm $own/data/grantflow 2>/dev/null
leak_snapshot "$CONFIGS/before"
others=$(xenstore-ls $own/data 2>/dev/null)
# start: the stage `smooth`, with its domains as they were named last.
start() {
  "$JOB/bin/filter" --xen stage=smooth in.raw=? out.smooth=? >>"$CONFIGS/said" 2>&1 &
  program=$!
}
# between GENERATION: dom0's word to the program that it stands between `source` and `sink`.
between() {
  xenstore-write $own/grantflow/peer/raw "$(domid source) $1" $own/grantflow/peer/smooth "$(domid sink) $1"
}
source_of() { create source sensor 1 "signal=sine rate=$1 count=$2 name.1=s out.raw=0"; }
sink() { create sink log 1 "in.smooth=0"; }
own_state() { xenstore-read $own/data/grantflow/state 2>/dev/null; }
wait_own_state() {
  own_state_is() { [ "$(own_state)" = "$1" ]; }
  until_true "$PATIENCE" own_state_is "$1" || fail "the program is in state '$(own_state)', not '$1': $(cat "$CONFIGS/said")"
}
# own_counter NODE KEY
own_counter() { xenstore-read "$own/data/grantflow/$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
ends() {
  wait "$program"
  local status=$?
  [ $status = "$1" ] || fail "the program ended with $status, not $1: $(cat "$CONFIGS/said")"
}

# A stream with an end: every reading arrives. Nobody has named the program's peers when it starts.
xenstore-write $own/data/grantflow/stats/in/old 'of an earlier one'
start
wait_own_state 'waiting raw'
xenstore-exists $own/data/grantflow/stats/in/old && fail "what an earlier one has told stands there still"
"$JOB/bin/filter" --xen in.a=? out.b=? >"$CONFIGS/second" 2>&1 && fail "a second program has the same keys"
grep -q 'error: another stage .*--keys DIR' "$CONFIGS/second" || fail "a second program said: $(cat "$CONFIGS/second")"
[ "$(own_state)" = 'waiting raw' ] || fail "a second program has changed the state of the first: $(own_state)"
ON_POWEROFF=preserve sink
ON_POWEROFF=preserve source_of 200 300
between 1
wait_powered_off source
wait_powered_off sink
ends 0
[ "$(own_state)" = 'done' ] || fail "the program ended in state '$(own_state)'"
[ "$(own_counter stats/stage in) $(own_counter stats/stage out)" = '300 300' ] || fail "counted: $(xenstore-ls $own/data/grantflow)"
[ "$(own_counter stats/in/raw lost)" = 0 ] || fail "lost: $(xenstore-ls $own/data/grantflow)"
[ "$(counter sink stats/stage used)" = 300 ] || fail "the sink has $(counter sink stats/stage used) of 300"
xl destroy "${PREFIX}source"
xl destroy "${PREFIX}sink"

# A writer that dies is told, and the next one is read; so is a reader.
start
sink
source_of 50 0
between 2
wait_own_state running
xl destroy "${PREFIX}source"
wait_own_state 'stale raw'
source_of 50 0
between 3
wait_own_state running
# Counters are told once a second.
has_reconnected() { [ "$(own_counter stats/in/raw reconnects)" = 1 ]; }
until_true "$PATIENCE" has_reconnected || fail "counted: $(xenstore-ls $own/data/grantflow)"
xl destroy "${PREFIX}sink"
wait_own_state 'waiting smooth'
ON_POWEROFF=preserve sink
between 4
wait_own_state running
wait_state sink running

# Killed, it is missed on both sides, and what runs next in its place is met.
kill -9 "$program"
ends 137
wait_state sink 'stale smooth'
start
wait_own_state running
wait_state sink running
wait_state source running
has_read() { [ "$(own_counter stats/stage in)" -gt 0 ]; }
until_true "$PATIENCE" has_read || fail "the program has read nothing: $(xenstore-ls $own/data/grantflow)"

# Asked to end, it hands on what has come, and marks the end.
kill "$program"
ends 0
[ "$(own_state)" = 'done' ] || fail "the program ended in state '$(own_state)'"
wait_powered_off sink
[ "$(state sink)" = 'done' ] || fail "the sink ended in state '$(state sink)'"
read=$(own_counter stats/stage in)
[ "$(own_counter stats/out/smooth readings) $(own_counter stats/out/smooth lost)" = "$read 0" ] || fail "counted: $(xenstore-ls $own/data/grantflow)"
[ "$(counter sink stats/in/smooth readings)" -ge "$read" ] || fail "of $read readings the sink has $(read_key sink data/grantflow/stats/in/smooth)"

xl destroy "${PREFIX}source"
xl destroy "${PREFIX}sink"
xenstore-rm $own/data/grantflow $own/grantflow
[ "$(xenstore-ls $own/data 2>/dev/null)" = "$others" ] || fail "left in xenstore: $(xenstore-ls $own/data)"
leak_check "$CONFIGS/before"
