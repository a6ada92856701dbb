#!/bin/bash
# P2: grant references or memory used up is an error that says what to raise, and all can be had again
# timeout: 300
. "$JOB/lab/lib.sh"

CONFIG="max_grant_frames = 1" probe table 16 "do=grants"
probe memory 4 "do=grants"
wait_powered_off table
# One frame holds 512 references; 8 are kept for the toolstack.
says table grants '^504 pages, then: .*max_grant_frames='
says table grants-again '^504 pages, then: .*max_grant_frames='
wait_powered_off memory
says memory grants '^[0-9]+ pages, then: out of memory: .*memory='
says memory grants-again '^[0-9]+ pages, then: '
first=$(read_key memory data/probe/grants | cut -d' ' -f1)
again=$(read_key memory data/probe/grants-again | cut -d' ' -f1)
[ "$first" -gt 100 ] || fail "only $first pages of 4 MiB could be granted"
[ $((first - again)) -lt 16 ] || fail "after $first pages were given back, $again were to be had"
