#!/bin/bash
# Both roles against Debian's vchan-socket-proxy, bytes compared
# timeout: 300
. "$JOB/lab/lib.sh"

# The proxy offers and reads, the unikernel connects and writes.
probe source 4 "do=source out.e=0 bytes=200003"
read_edge source e "$CONFIGS/read"
wait_powered_off source
says source edge/e '^sent [0-9]+ bytes, crc32 '
said=$(read_key source data/probe/edge/e)
all_read() { [ "$said" = "sent $(wc -c <"$CONFIGS/read") bytes, crc32 $(crc32 "$CONFIGS/read" | cut -d' ' -f1)" ]; }
until_true "$PATIENCE" all_read || fail "the unikernel $said; the proxy read $(wc -c <"$CONFIGS/read") bytes"

# The unikernel offers and echoes, the proxy connects.
probe echo 4 "do=echo in.e=0,ring=16K"
id=$(domid echo)
head -c 100003 /dev/urandom >"$CONFIGS/in"
back() { cmp -s "$CONFIGS/in" "$CONFIGS/out"; }
# The proxy ends with its input, so that this stays open until everything is back.
{
  cat "$CONFIGS/in"
  until_true "$PATIENCE" back
} | vchan-socket-proxy -m client "$id" "/local/domain/$id/data/vchan/0/e" - >"$CONFIGS/out" &
until_true "$PATIENCE" back || fail "$(wc -c <"$CONFIGS/out") of 100003 bytes came back"
wait_powered_off echo
says echo edge/e "^echoed 100003 bytes, crc32 $(crc32 "$CONFIGS/in" | cut -d' ' -f1)\$"
