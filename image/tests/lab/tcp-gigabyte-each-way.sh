#!/bin/bash
# A gigabyte of TCP each way against a Linux program arrives byte for byte
# timeout: 900
. "$JOB/lab/lib.sh"
need bin/tcp-peer
private_bridge

size=62500 count=16000
bench in "role=server addr=0.0.0.0:5001 mode=sink size=$size count=$count check=on ip=10.9.0.77/24"
wait_console in 'listening on port 5001'
ping -c 2 -i 0.2 -W 5 10.9.0.77 || fail "no answer to ping"
"$JOB/bin/tcp-peer" client 10.9.0.77 5001 sink $size $count check || fail "tcp-peer as client"
wait_powered_off in
bench_line in

"$JOB/bin/tcp-peer" server 5002 sink $size $count check &
peer=$!
bench out "role=client addr=10.9.0.1:5002 mode=sink size=$size count=$count check=on ip=10.9.0.78/24"
wait $peer || fail "tcp-peer as server"
wait_powered_off out
bench_line out
