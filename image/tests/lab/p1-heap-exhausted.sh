#!/bin/bash
# P1: a full heap is an error, and passes; who does not ask ends in crash; pages, events and sleeps need none
# timeout: 300
. "$JOB/lab/lib.sh"

probe heap 4 "do=heap"
probe careless 4 "do=heap-panic"
probe scarce 4 "do=scarce"
wait_powered_off heap
wait_console heap "the heap is full"
says heap heap '^[0-9]+ bytes, then: memory allocation failed'
says heap heap-again '^[0-9]+ bytes, then: memory allocation failed'
first=$(read_key heap data/probe/heap | cut -d' ' -f1)
again=$(read_key heap data/probe/heap-again | cut -d' ' -f1)
[ $((first - again)) -lt 65536 ] || fail "after $first bytes were given back, $again were to be had"
wait_powered_off scarce
says scarce scarce '^seen through the mapping: 3 pages kept, then 0$'
ended_with careless 'panic at .*memory allocation of [0-9]+ bytes failed'
