#!/bin/bash
# Images that wait for a network, an address or a peer, or keep a silent connection alive, use less than 1 % of a CPU
# timeout: 300
. "$JOB/lab/lib.sh"
private_bridge

# Nobody leases addresses on this bridge; the second image has no interface at all; nobody connects to the third.
bench leaseless "role=client addr=10.9.0.1:5001 ip=dhcp"
ON_POWEROFF=preserve create bare tcp-bench 8 "role=client addr=10.9.0.1:5001 ip=10.9.0.76/24"
bench listening "role=server addr=0.0.0.0:5001 ip=10.9.0.77/24"
bench connected "role=server addr=0.0.0.0:5001 ip=10.9.0.78/24"
# An answer to ARP that never comes; nobody else is to be woken by the questions.
private_bridge private1
bench unanswered "role=client addr=10.9.0.99:5001 ip=10.9.0.79/24"
wait_console leaseless 'the interface is up'
wait_console bare 'KiB of memory'
wait_console unanswered 'connecting to 10\.9\.0\.99'
for name in listening connected; do wait_console $name 'listening on port 5001'; done
until_true 20 ping -c 1 -W 1 10.9.0.78 || fail "no answer to ping"
exec 9<>/dev/tcp/10.9.0.78/5001 || fail "no connection"

# packets NAME rx|tx: that its back end took from it, or gave to it.
packets() { cat "/sys/class/net/vif$(domid "$1").0/statistics/$2_packets" 2>/dev/null || echo 0; }
names=(leaseless bare listening connected unanswered)
declare -A before woken sent
sleep 2
for name in "${names[@]}"; do
  before[$name]=$(cpu_tenths "$name") sent[$name]=$(packets "$name" rx)
  woken[$name]=$(($(packets "$name" tx) + ${sent[$name]}))
done
# Longer than from one sign of life that a silent connection asks for to the next (30 s), and from one call for a lease to the next.
sleep 34
busy=
for name in "${names[@]}"; do
  used=$(($(cpu_tenths "$name") - ${before[$name]}))
  frames=$(($(packets "$name" tx) + $(packets "$name" rx) - ${woken[$name]}))
  echo "$name: $used tenths of a second, $frames frames came and went"
  # It is awake for each of them; while the host has no time for the machine then, its waiting counts as the image's work.
  [ "$used" -le $((3 + frames / 2)) ] || busy+=" $name"
done
[ -z "$busy" ] || fail "more than 1 % of a CPU in 34 s:$busy"
for name in leaseless connected unanswered; do
  [ "$(packets $name rx)" -gt "${sent[$name]}" ] || fail "$name sent nothing: it has not waited, it has stopped"
done
has_ended connected && fail "the silent connection did not last"
grep -aq leased "$(console leaseless)" && fail "somebody leased an address"
no_crash
