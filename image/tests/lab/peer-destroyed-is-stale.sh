#!/bin/bash
# R14: A peer destroyed while connected: the reader says `stale EDGE`, and goes on with the one that dom0 names next
# timeout: 300
. "$JOB/lab/lib.sh"

probe reader 4 "in.e=?"
probe first 4 "count=1000000 every=20ms out.e=?"
peer first e "$(domid reader)"
peer reader e "$(domid first)"
wait_state reader running
xl destroy "${PREFIX}first"
wait_state reader "stale e"
probe second 4 "count=1000000 every=20ms out.e=?"
peer second e "$(domid reader)"
peer reader e "$(domid second)" 2
wait_state second running
wait_state reader running
xl shutdown "${PREFIX}second"
wait_powered_off second
wait_powered_off reader
[ "$(state reader)" = done ] || fail "the reader ended in state '$(state reader)'"
[ "$(counter reader stats/in/e reconnects)" = 1 ] || fail "the reader counted $(counter reader stats/in/e reconnects) reconnects"
