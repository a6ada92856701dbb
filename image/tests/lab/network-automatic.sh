#!/bin/bash
# Addresses by DHCP and from IPv6 routers, names by DNS
# timeout: 240
. "$JOB/lab/lib.sh"
need bin/tcp-peer

# On the lab's bridge QEMU's own servers lease addresses and advertise a prefix.
# dom0 answers for one name.
need bin/name-server
"$JOB/bin/name-server" peer.test 10.0.2.15 &
"$JOB/bin/tcp-peer" server 5001 sink 1000 10 &
peer=$!
bench dhcp "role=client addr=peer.test:5001 mode=sink size=1000 count=10 ip=dhcp,dns=10.0.2.15"
wait_console dhcp 'leased 10\.0\.2\.[0-9]+/24'
wait_console dhcp 'connecting to 10\.0\.2\.15'
wait_powered_off dhcp
wait $peer || fail "tcp-peer over a leased address"

# Neither a server nor the resolver knows this one.
bench unknown "role=client addr=nobody.test:5001 mode=sink size=1 count=1 ip=10.0.2.90/24,dns=10.0.2.15"
ended_with unknown 'error: nobody\.test: '

ip -6 addr add fec0::15/64 dev xenbr0 nodad || fail "no IPv6 in dom0"
"$JOB/bin/tcp-peer" server 5002 sink 65536 50 &
peer=$!
bench six "role=client addr=[fec0::15]:5002 mode=sink size=64K count=50 ip=10.0.2.91/24"
wait_powered_off six
wait $peer || fail "tcp-peer over IPv6"

# And the other way, where the back end hands over long segments.
bench sixserver "role=server addr=0.0.0.0:5003 mode=sink size=64K count=50 ip=10.0.2.92/24"
wait_console sixserver 'listening on port 5003'
mac=$(xenstore-read "/local/domain/$(domid sixserver)/device/vif/0/mac")
IFS=: read -r _ _ _ d e f <<<"$mac"
"$JOB/bin/tcp-peer" client "fe80::216:3eff:fe$d:$e$f%xenbr0" 5003 sink 65536 50 || fail "tcp-peer to $mac"
wait_powered_off sixserver
