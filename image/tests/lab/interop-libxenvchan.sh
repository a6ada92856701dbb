#!/bin/bash
# R10: Both roles against a C program linked with Debian's libxenvchan, bytes compared both ways
# timeout: 300
. "$JOB/lab/lib.sh"
need bin/vchan-peer

head -c 300001 /dev/urandom >"$CONFIGS/in"
sum="300001 bytes, crc32 $(crc32 "$CONFIGS/in" | cut -d' ' -f1)"
for ring in 1024 2048 16384; do
  # The unikernel offers, the C program connects.
  probe "server$ring" 4 "do=echo in.e=0,ring=$ring"
  id=$(domid "server$ring")
  "$JOB/bin/vchan-peer" exchange client "$id" "/local/domain/$id/data/vchan/0/e" <"$CONFIGS/in" >"$CONFIGS/out" ||
    fail "the C client failed, ring $ring"
  cmp "$CONFIGS/in" "$CONFIGS/out" || fail "the C client got other bytes than it sent, ring $ring"
  wait_powered_off "server$ring"
  says "server$ring" edge/e "^echoed $sum\$"

  # The C program offers, the unikernel connects.
  probe "client$ring" 4 "do=exchange out.e=0 bytes=200003 seed=$ring"
  id=$(domid "client$ring")
  "$JOB/bin/vchan-peer" echo server "$id" "data/vchan/$id/e" "$ring" "$ring" >"$CONFIGS/echoed" ||
    fail "the C server failed, ring $ring"
  wait_powered_off "client$ring"
  says "client$ring" edge/e "^exchanged [0-9]+ bytes, crc32 "
  said=$(read_key "client$ring" data/probe/edge/e)
  [ "${said#exchanged }" = "$(cat "$CONFIGS/echoed")" ] ||
    fail "the unikernel $said, the C server echoed $(cat "$CONFIGS/echoed")"
done
