#!/bin/bash
# The same image boots, prints and powers off in 1, 2, 4, 64 and 256 MiB, and has the heap to itself
# timeout: 600
. "$JOB/lab/lib.sh"

for size in 1 2 4 64 256; do
  probe "m$size" "$size" "do=heap"
done
for size in 1 2 4 64 256; do
  wait_powered_off "m$size"
  wait_console "m$size" "(^| )$((size * 1024)) KiB of memory"
  free=$(grep -aoE '[0-9]+ KiB free' "$(console "m$size")" | cut -d' ' -f1)
  [ "$free" -gt 0 ] || fail "in $size MiB it did not say what is free"
  heap=$(read_key "m$size" data/probe/heap | cut -d' ' -f1)
  # The list of blocks, and what the allocator rounds up, are not counted in the blocks' bytes.
  [ "$heap" -gt $((free * 1024 * 3 / 4)) ] || fail "in $size MiB the heap gave $heap bytes of $free KiB free"
done
