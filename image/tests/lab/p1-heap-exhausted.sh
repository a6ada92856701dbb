#!/bin/bash
# P1: a heap used up is an error, it passes, and whoever does not ask for the error ends in crash with one line
# timeout: 300
. "$JOB/lab/lib.sh"

probe heap 4 "do=heap"
probe careless 4 "do=heap-panic"
wait_powered_off heap
wait_console heap "the heap is full"
says heap heap '^[0-9]+ bytes, then: memory allocation failed'
says heap heap-again '^[0-9]+ bytes, then: memory allocation failed'
first=$(read_key heap data/probe/heap | cut -d' ' -f1)
again=$(read_key heap data/probe/heap-again | cut -d' ' -f1)
[ $((first - again)) -lt 65536 ] || fail "after $first bytes were given back, $again were to be had"
ended_with careless 'panic at .*memory allocation of [0-9]+ bytes failed'
