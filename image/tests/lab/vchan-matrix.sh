#!/bin/bash
# A unikernel and a C program on libxenvchan: both roles, rings of each order, messages of every length around them, ends by either
# timeout: 900
. "$JOB/lab/lib.sh"
need bin/vchan-matrix

leak_snapshot "$CONFIGS/before"
probe matrix 16 "do=matrix count=${SOAK:-0}"
id=$(domid matrix)
"$JOB/bin/vchan-matrix" "$id" ${SOAK:+all} >"$CONFIGS/said" || fail "the C program failed"
wait_powered_off matrix
says matrix matrix "^$(cat "$CONFIGS/said")\$"
[[ $(cat "$CONFIGS/said") =~ ^([0-9]+)\ channels ]] && [ "${BASH_REMATCH[1]}" -ge 28 ] || fail "it said $(cat "$CONFIGS/said")"
xl destroy "$id"
leak_check "$CONFIGS/before"
