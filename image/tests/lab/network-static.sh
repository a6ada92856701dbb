#!/bin/bash
# A static address answers ping; TCP both ways against a Linux program
# timeout: 240
. "$JOB/lab/lib.sh"
need bin/tcp-peer

# bench NAME EXTRA...: boots tcp-bench on the bridge.
bench() {
  local name=$1
  shift
  CONFIG='vif = ["bridge=xenbr0"]' ON_POWEROFF=preserve create "$name" tcp-bench 8 "$*"
}

bench server "role=server addr=0.0.0.0:5001 mode=sink size=64K count=200 ip=10.0.2.77/24,gw=10.0.2.2"
wait_console server 'listening on port 5001'
until_true 20 ping -c 1 -W 1 10.0.2.77 || fail "no answer to ping"
ping -c 3 -i 0.2 -s 1400 -W 5 10.0.2.77 || fail "no answer to a long ping"
"$JOB/bin/tcp-peer" client 10.0.2.77 5001 sink 65536 200 || fail "tcp-peer"
wait_powered_off server
wait_console server '"bench":"tcp","size":65536,"count":200,'

"$JOB/bin/tcp-peer" server 5002 sink 65536 200 >"$CONFIGS/said" &
bench client "role=client addr=10.0.2.15:5002 mode=sink size=64K count=200 ip=10.0.2.78/24"
wait_powered_off client
wait_console client '"bench":"tcp","size":65536,"count":200,'
wait $! || fail "tcp-peer as server"
cat "$CONFIGS/said"

"$JOB/bin/tcp-peer" server 5003 echo 64 500 &
bench echo "role=client addr=10.0.2.15:5003 mode=echo size=64 count=500 ip=10.0.2.79/24"
wait_powered_off echo
wait_console echo '"rtt_ns":\{"p50":[0-9]+,'
wait $! || fail "tcp-peer echo"
no_crash
