#!/bin/bash
# A static address answers ping; TCP both ways against a Linux program
# timeout: 240
. "$JOB/lab/lib.sh"
need bin/tcp-peer

private_bridge

bench server "role=server addr=0.0.0.0:5001 mode=sink size=64K count=200 check=on ip=10.9.0.77/24"
wait_console server 'listening on port 5001'
until_true 20 ping -c 1 -W 1 10.9.0.77 || fail "no answer to ping"
ping -c 3 -i 0.2 -s 1400 -W 5 10.9.0.77 || fail "no answer to a long ping"
"$JOB/bin/tcp-peer" client 10.9.0.77 5001 sink 65536 200 check || fail "tcp-peer"
wait_powered_off server
wait_console server '"bench":"tcp","size":65536,"count":200,'

"$JOB/bin/tcp-peer" server 5002 sink 65536 200 check >"$CONFIGS/said" &
bench client "role=client addr=10.9.0.1:5002 mode=sink size=64K count=200 check=on ip=10.9.0.78/24"
wait_powered_off client
wait_console client '"bench":"tcp","size":65536,"count":200,'
wait $! || fail "tcp-peer as server"
cat "$CONFIGS/said"

"$JOB/bin/tcp-peer" server 5003 echo 64 500 check &
bench echo "role=client addr=10.9.0.1:5003 mode=echo size=64 count=500 check=on ip=10.9.0.79/24"
wait_powered_off echo
wait_console echo '"rtt_ns":\{"p50":[0-9]+,'
wait $! || fail "tcp-peer echo"
no_crash
