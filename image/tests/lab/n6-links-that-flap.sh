#!/bin/bash
# A connection lives through a link that flaps each second, a changing MTU, and a gateway that answers no ARP or has another address
# timeout: 400
# soak timeout: 3600
. "$JOB/lab/lib.sh"
need bin/tcp-peer
private_bridge

flaps=4 count=8000
[ -z "$SOAK" ] || flaps=600 count=400000

# A stream each of whose bytes is looked at on both sides, in the background.
bench echo "role=server addr=0.0.0.0:5001 mode=echo size=1000 count=$count check=on ip=10.9.0.77/24"
wait_console echo 'listening on port 5001'
"$JOB/bin/tcp-peer" client 10.9.0.77 5001 echo 1000 $count check &
stream=$!
goes_on() { kill -0 $stream 2>/dev/null; }
vif=vif$(domid echo).0
sleep 0.5
for ((flap = 0; flap < flaps; flap++)); do
  goes_on || break
  ip link set "$vif" down || fail "$vif does not go down"
  sleep 0.5
  ip link set "$vif" up || fail "$vif does not come up"
  sleep 0.5
done
[ "$flap" -ge 3 ] || fail "the stream ended after $flap flaps"
echo "flapped $flap times"

# Smaller frames than the connection began with, and longer ones again.
for mtu in 700 1500; do
  ip link set "$vif" mtu $mtu && ip link set "$BRIDGE" mtu $mtu || fail "no MTU of $mtu"
  sleep 0.5
done
# Who was 10.9.0.1 has another address on the link, and does not say so by itself.
ip link set "$BRIDGE" address 02:00:00:00:09:01 || fail "no other address"
wait $stream || fail "the stream did not survive"
wait_powered_off echo
bench_line echo

# A connection that begins under a small MTU.
ip link set "$BRIDGE" mtu 600 || fail "no MTU of 600"
"$JOB/bin/tcp-peer" server 5002 sink 65536 50 check &
peer=$!
bench small "role=client addr=10.9.0.1:5002 mode=sink size=64K count=50 check=on ip=10.9.0.78/24"
wait $peer || fail "tcp-peer under an MTU of 600"
wait_powered_off small
ip link set "$BRIDGE" mtu 1500

# The way to 10.8.0.1 is by a gateway, which is silent at first.
ip addr add 10.8.0.1/32 dev lo
echo 8 >/proc/sys/net/ipv4/conf/$BRIDGE/arp_ignore || fail "dom0 cannot ignore ARP"
"$JOB/bin/tcp-peer" server 5003 sink 65536 50 check &
peer=$!
bench lost "role=client addr=10.8.0.1:5003 mode=sink size=64K count=50 check=on ip=10.9.0.79/24,gw=10.9.0.1"
wait_console lost 'connecting to 10\.8\.0\.1'
sleep 3
kill -0 $peer || fail "the gateway was not lost"
echo 0 >/proc/sys/net/ipv4/conf/$BRIDGE/arp_ignore
wait $peer || fail "tcp-peer behind the gateway"
wait_powered_off lost
ip addr del 10.8.0.1/32 dev lo
no_crash
