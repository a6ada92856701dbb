#!/bin/bash
# R27: Stages that are connected, or wait for a peer that never comes, use less than 1 % of a CPU while nothing happens
# timeout: 300
. "$JOB/lab/lib.sh"

probe source 4 "count=2 every=1h out.e=?"
probe reader 4 "in.e=?"
peer source e "$(domid reader)"
peer reader e "$(domid source)"
# No such domain; a domain that has nothing to offer; one that offers to somebody else.
probe absent 2 "in.x=32000"
probe silent 2 "out.x=0"
probe stranger 2 "out.e=$(domid reader)"
wait_state source running
wait_state reader running
for name in absent silent; do wait_state "$name" "waiting x"; done
wait_state stranger "waiting e"
wait_console absent 'domain 32000 does not exist'
wait_console silent 'domain 0 has not come yet'

names=(source reader absent silent stranger)
declare -A before
for name in "${names[@]}"; do before[$name]=$(cpu_tenths "$name"); done
sleep 20
for name in "${names[@]}"; do
  used=$(($(cpu_tenths "$name") - ${before[$name]}))
  [ "$used" -le 2 ] || fail "$name used $used tenths of a second of CPU in 20 s"
done
wait_state stranger "waiting e"
no_crash
