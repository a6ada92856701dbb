#!/bin/bash
# A flood of SYNs neither ends a connection nor damages its stream, and a listener is there again soon after
# timeout: 400
# soak timeout: 3600
. "$JOB/lab/lib.sh"
need bin/tcp-peer
need bin/syn-flood
private_bridge

seconds=5
[ -z "$SOAK" ] || seconds=600
flood() { "$JOB/bin/syn-flood" "$@" >"$CONFIGS/flood"; }
# packets NAME: that its back end gave to it.
packets() { cat "/sys/class/net/vif$(domid "$1").0/statistics/tx_packets"; }

# A flood at a port where an image listens; then somebody who means it.
bench echo "role=server addr=0.0.0.0:5001 mode=echo size=1000 count=2000 check=on ip=10.9.0.77/24"
wait_console echo 'listening on port 5001'
until_true 20 ping -c 1 -W 1 10.9.0.77 || fail "no answer to ping"
before=$(packets echo)
flood 10.9.0.77 5001 $seconds 10.9.0.1 || fail "no flood"
echo "while it listened: $(cat "$CONFIGS/flood"); $(($(packets echo) - before)) came to the image"
[ $(($(packets echo) - before)) -gt 1000 ] || fail "that was no flood"

# A flood while a stream goes on, to the same port and to all others.
start=$(now)
"$JOB/bin/tcp-peer" client 10.9.0.77 5001 echo 1000 2000 check &
stream=$!
# In Linux's table: from 10.9.0.1 to port 5001 of 10.9.0.77, established.
let_in() { grep -hqE '^ *[0-9]+: 0100090A:[0-9A-F]+ 4D00090A:1389 01' /proc/net/tcp; }
until_true 60 let_in || fail "nobody is let in after the flood"
echo "let in after $(($(now) - start)) ms"
rounds=0
while kill -0 $stream 2>/dev/null; do
  flood 10.9.0.77 5001 1 10.9.0.1 || fail "no flood"
  rounds=$((rounds + 1))
done
wait $stream || fail "the stream did not survive"
echo "while the stream went on: $rounds floods of a second, the last: $(cat "$CONFIGS/flood")"
wait_powered_off echo
bench_line echo
no_crash
