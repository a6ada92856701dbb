#!/bin/bash
# xl shutdown is obeyed: running and waiting stages end with `done`, poweroff, and balanced counters
# timeout: 300
. "$JOB/lab/lib.sh"

probe waits 2 "in.never=?"
probe source 4 "count=1000000 every=20ms out.e=?"
probe relay 4 "in.e=?"
peer source e "$(domid relay)"
peer relay e "$(domid source)"
wait_state source running
wait_state relay running
flows() { [ "$(counter relay stats/in/e readings)" -gt 3 ]; }
until_true "$PATIENCE" flows || fail "no readings arrived"
wait_state waits "waiting never"
xl shutdown "${PREFIX}waits" || fail "xl shutdown waits failed"
xl shutdown "${PREFIX}source" || fail "xl shutdown source failed"
# The relay ends because its only input does.
for name in waits source relay; do
  wait_powered_off "$name"
  [ "$(state "$name")" = done ] || fail "$name ended in state '$(state "$name")'"
done
sent=$(counter source stats/out/e readings)
received=$(($(counter relay stats/in/e readings) + $(counter relay stats/in/e lost) + $(counter source stats/out/e lost)))
[ "$sent" -gt 3 ] && [ "$sent" = "$received" ] || fail "$sent readings sent, but $received received or lost"
for name in source relay; do
  in=$(counter "$name" stats/stage in)
  accounted=$(($(counter "$name" stats/stage used) + $(counter "$name" stats/stage unsendable)))
  [ "$in" -gt 3 ] && [ "$in" = "$accounted" ] || fail "$name took in $in readings and accounts for $accounted"
done
