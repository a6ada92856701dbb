#!/bin/bash
# R23 R25 R26: Two domains exchange bytes over vchan rings of every order, 10 to 20, both ways at once
# timeout: 300
. "$JOB/lab/lib.sh"

in=
out=
for ((order = 10; order <= 20; order++)); do
  in+=" in.o$order=?,ring=$((1 << order))"
  out+=" out.o$order=?"
done
probe echo 8 "do=echo$in"
probe exchange 8 "do=exchange bytes=64K$out"
for ((order = 10; order <= 20; order++)); do
  peer echo "o$order" "$(domid exchange)"
  peer exchange "o$order" "$(domid echo)"
done
wait_ended exchange 240
wait_powered_off exchange
wait_powered_off echo
for ((order = 10; order <= 20; order++)); do
  # The two in-page rings have places of their own, so that each goes with the other.
  back=$((order == 10 ? 11 : order == 11 ? 10 : order))
  wait_console exchange "edge o$order: rings 2\^$order and 2\^$back,"
  bytes=$((65536 + 3 * (1 << (order > back ? order : back))))
  says exchange "edge/o$order" "^exchanged $bytes bytes, crc32 "
  sum=$(read_key exchange "data/probe/edge/o$order")
  says echo "edge/o$order" "^echoed ${sum#exchanged }\$"
done
