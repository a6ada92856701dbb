#!/bin/bash
# Xenstore requests of each kind, both clocks, random bytes and Hermit's calls do what they say
# timeout: 300
. "$JOB/lab/lib.sh"

for deed in xenstore clock entropy abi; do
  probe "$deed" 2 "do=$deed"
done
wait_powered_off xenstore
for part in values permissions watch transaction pipelined; do says xenstore "$part" '^ok$'; done
wait_powered_off clock
for key in slept passed; do
  time=$(read_key clock "data/probe/$key")
  [ "${time% us}" -ge 999000 ] || fail "a sleep of a second took $time by the clock of $key"
done
ahead=$(($(read_key clock data/probe/unix) - $(date +%s)))
[ "${ahead#-}" -lt "$PATIENCE" ] || fail "the wall clock is $ahead s ahead of dom0's"
wait_powered_off entropy
says entropy entropy '^[0-9a-f]{64}$'
says entropy entropy-again '^[0-9a-f]{64}$'
[ "$(read_key entropy data/probe/entropy)" != "$(read_key entropy data/probe/entropy-again)" ] || fail "the same bytes twice"
wait_powered_off abi
wait_console abi '^written by sys_write'
says abi abi '^ok$'
