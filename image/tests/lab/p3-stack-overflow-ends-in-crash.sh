#!/bin/bash
# P3: a stack overflow hits the page below the stack, and Xen ends the domain with reason crash
# timeout: 300
. "$JOB/lab/lib.sh"

xl dmesg -c >/dev/null
probe stack 2 "do=stack"
wait_crashed stack
guard=$(grep -aoE 'guard page at 0x[0-9a-f]+' "$(console stack)" | cut -d' ' -f4)
[ -n "$guard" ] || fail "the probe did not say where its guard page is"
# No handler can run without a stack, so that Xen logs the registers itself.
rsp=$(xl dmesg | grep -oE 'rsp: [0-9a-f]+' | head -n 1 | cut -d' ' -f2)
[ -n "$rsp" ] || fail "Xen logged no registers"
rsp=$((16#$rsp))
[ "$rsp" -ge $((guard)) ] && [ "$rsp" -le $((guard + 4096)) ] ||
  fail "$(printf 'rsp %#x is not in the guard page at %#x' "$rsp" "$guard")"
