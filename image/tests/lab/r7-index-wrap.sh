#!/bin/bash
# R7: rings whose indexes begin just before 2^31 and 2^32; in the long form five gigabytes, around them once and a quarter
# timeout: 300
# soak timeout: 7200
. "$JOB/lab/lib.sh"
need bin/vchan-hostile

for start in 0x7ffff000 0xfffff000; do
  # What is sent passes the wrap after a page, in either direction.
  probe "at$start" 4 "do=exchange out.e=? bytes=16K"
  id=$(domid "at$start")
  rm -f "$CONFIGS/ready"
  "$JOB/bin/vchan-hostile" server "$id" "data/vchan/$id/e" 4096 4096 \
    poke 0 4 $start poke 4 4 $start poke 8 4 $start poke 12 4 $start met echo >"$CONFIGS/ready" &
  until grep -qs ready "$CONFIGS/ready"; do sleep 0.02; done
  peer "at$start" e 0
  wait_powered_off "at$start"
  says "at$start" edge/e '^exchanged 28672 bytes, crc32 '
  wait $! || fail "the C server failed at $start"
done

[ -n "${SOAK:-}" ] || exit 0
probe sink 8 "do=sink in.e=?,ring=1M"
probe source 8 "do=source out.e=? bytes=5120M"
peer sink e "$(domid source)"
peer source e "$(domid sink)"
wait_ended source 6600
wait_powered_off source
wait_powered_off sink
says source edge/e '^sent 537[0-9]{7} bytes, crc32 '
sent=$(read_key source data/probe/edge/e)
says sink edge/e "^received ${sent#sent }\$"
