#!/bin/bash
# vchan-bench, tcp-bench and udp-bench as programs in two Linux guests, and against the images: every byte checked
# timeout: 600
. "$JOB/lab/lib.sh"
need bin/libxenvchan-bench
need bin/udp-bench
private_bridge

GUEST_MEMORY=160 linux_guest one 10.9.0.81/24
GUEST_MEMORY=160 linux_guest two 10.9.0.82/24
for guest in one two; do order $guest true; done
for guest in one two; do obeyed $guest; done
one=$(domid one) two=$(domid two)

# right WHO LINE BENCH SIZE COUNT SENT RECEIVED: a measurement ended with this line.
right() {
  echo "$1: $2"
  local begin="{\"bench\":\"$3\",\"size\":$4,\"count\":$5,\"warm_up\":$WARM_UP,"
  [[ $2 == "$begin"*"\"bytes_sent\":$6,\"bytes_received\":$7,\"checked\":true}" ]] || fail "$1: not $6 bytes out and $7 in"
}
# both BENCH MODE SIZE COUNT SERVER-LINE CLIENT-LINE
both() {
  local bytes=$(($3 * $4)) back=0
  [ "$2" = sink ] || back=$bytes
  right "$1 $2, server" "$5" "$1" "$3" "$4" $back $bytes
  right "$1 $2, client" "$6" "$1" "$3" "$4" $bytes $back
  [ "$2" = sink ] || [[ $6 =~ '"rtt_ns":{"p50":'[1-9] ]] || fail "$1: no round trips"
}
WARM_UP=20
load() { echo "mode=$1 size=$2 count=$3 warm-up=$WARM_UP check=on"; }

# between BENCH SERVER-PROGRAM CLIENT-PROGRAM MODE SIZE COUNT: guest two is the client of guest one; a program comes with what it
# alone is told.
between() {
  order one "$2 role=server $(load "$4" "$5" "$6")"
  order two "$3 role=client $(load "$4" "$5" "$6")"
  obeyed two
  obeyed one
  both "$1" "$4" "$5" "$6" "$(read_key one data/said)" "$(read_key two data/said)"
}
vchan_server="vchan-bench peer=$two" vchan_client="vchan-bench peer=$one"
between vchan "$vchan_server" "$vchan_client" sink 64 20000
between vchan "$vchan_server api=stream ring=4K" "$vchan_client api=zerocopy" sink 4000 100
between vchan "$vchan_server" "$vchan_client" echo 64 200
path=data/vchan/$two/bench
between vchan "libxenvchan-bench peer=$two path=$path" "$vchan_client path=/local/domain/$one/$path" echo 64 200
between vchan "$vchan_server path=$path" "libxenvchan-bench peer=$one path=/local/domain/$one/$path" sink 64 20000
tcp_server="tcp-bench addr=0.0.0.0:5001" tcp_client="tcp-bench addr=10.9.0.81:5001"
between tcp "$tcp_server" "$tcp_client" sink 65536 100
between tcp "$tcp_server" "$tcp_client" echo 64 100
for guest in one two; do order $guest "ethtool -K eth0 tso off gso off && ethtool -k eth0 | grep 'generic-segmentation-offload: off'"; done
for guest in one two; do obeyed $guest; done
between tcp "$tcp_server nodelay=off" "$tcp_client nodelay=off" sink 1000 1000
between udp udp-bench "udp-bench addr=10.9.0.81:5002" echo 64 100

# Of datagrams, some may not arrive; each is counted.
order one "udp-bench role=server $(load sink 1472 2000)"
order two "udp-bench role=client addr=10.9.0.81:5002 $(load sink 1472 2000)"
obeyed two
obeyed one
line=$(read_key two data/said)
[[ $line =~ \"arrived\":([0-9]+),\"lost\":([0-9]+), ]] || fail "udp: $line"
arrived=${BASH_REMATCH[1]} lost=${BASH_REMATCH[2]}
[ $((arrived + lost)) = 2000 ] && [ "$arrived" -gt 1000 ] || fail "udp: $line"
right "udp sink, client" "$line" udp 1472 2000 $((1472 * 2000)) 0
right "udp sink, server" "$(read_key one data/said)" udp 1472 2000 0 $((1472 * arrived))

# unikernel_serves BENCH MODE SIZE COUNT COMMAND; unikernel_asks the other way round. Guest one is at the other end.
unikernel_serves() {
  order one "$5 role=client $(load "$2" "$3" "$4")"
  obeyed one
  both "$1" "$2" "$3" "$4" "$(bench_line "$1-server")" "$(read_key one data/said)"
}
unikernel_asks() {
  obeyed one
  both "$1" "$2" "$3" "$4" "$(read_key one data/said)" "$(bench_line "$1-client")"
}
vchan_bench vchan-server "role=server peer=$one $(load echo 64 300)"
unikernel_serves vchan echo 64 300 "vchan-bench peer=$(domid vchan-server)"
vchan_bench vchan-client "role=client peer=$one $(load sink 1000 3000)"
order one "vchan-bench role=server peer=$(domid vchan-client) $(load sink 1000 3000)"
unikernel_asks vchan sink 1000 3000
bench tcp-server "role=server addr=0.0.0.0:5001 ip=10.9.0.77/24 $(load sink 65536 100)"
unikernel_serves tcp sink 65536 100 "tcp-bench addr=10.9.0.77:5001"
order one "tcp-bench role=server addr=0.0.0.0:5001 $(load echo 64 100)"
bench tcp-client "role=client addr=10.9.0.81:5001 ip=10.9.0.78/24 nodelay=off $(load echo 64 100)"
unikernel_asks tcp echo 64 100

# An end that is killed ends the other: at once where it is told, else after timeout=.
for pair in "$vchan_server;$vchan_client" "$tcp_server;$tcp_client" "udp-bench;udp-bench addr=10.9.0.81:5002"; do
  order one "${pair%;*} role=server mode=echo size=64 count=1000000000 timeout=5; [ \$? = 1 ]"
  order two "timeout -s KILL 3 ${pair#*;} role=client mode=echo size=64 count=1000000000; [ \$? -gt 1 ]"
  obeyed two
  obeyed one
  said=$(read_key one data/said)
  [[ $said =~ ^error:.*(closed|silent) ]] || fail "${pair%;*}: $said"
done
no_crash
