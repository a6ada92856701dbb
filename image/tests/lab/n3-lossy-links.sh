#!/bin/bash
# Streams arrive byte for byte over links that lose, delay, swap, double and damage frames
# timeout: 600
# soak timeout: 3600
. "$JOB/lab/lib.sh"
need bin/tcp-peer
modprobe sch_netem || skip "dom0's kernel has no netem"
private_bridge

# What dom0 does to frames on their way to an image, and the bytes of a stream over that, in thousands.
cases=(
  "delay 5ms;500"
  "loss 5%;120"
  "loss 20%;10"
  "delay 5ms reorder 70% 50%;120"
  "duplicate 10%;250"
  "corrupt 5%;120"
  "loss 2% duplicate 2% corrupt 2% delay 3ms 2ms reorder 80%;75"
)
longer=1
[ -z "$SOAK" ] || longer=80
spoil() { tc qdisc replace dev "vif$(domid "$1").0" root netem $2 || fail "tc netem $2"; }
# spoiled NAME: something was.
spoiled() { tc -s qdisc show dev "vif$(domid "$1").0" | grep -q netem; }

number=0
for case in "${cases[@]}"; do
  how=${case%;*} thousands=$((${case#*;} * longer)) number=$((number + 1))
  # From Linux to an image: what is sent is lost.
  bench sink "role=server addr=0.0.0.0:5001 mode=sink size=1000 count=$thousands check=on ip=10.9.0.77/24"
  wait_console sink 'listening on port 5001'
  spoil sink "$how"
  start=$(now)
  "$JOB/bin/tcp-peer" client 10.9.0.77 5001 sink 1000 $thousands check >/dev/null || fail "$how: tcp-peer"
  wait_powered_off sink
  echo "$how: Linux to image, ${thousands}000 bytes in $(($(now) - start)) ms"
  xl destroy "${PREFIX}sink"

  # From image to image, both of whose links are like that: what is acknowledged is lost too.
  bench sink "role=server addr=0.0.0.0:5001 mode=sink size=1000 count=$thousands check=on ip=10.9.0.77/24"
  wait_console sink 'listening on port 5001'
  spoil sink "$how"
  PAUSED=1 bench source "role=client addr=10.9.0.77:5001 mode=sink size=1000 count=$thousands check=on ip=10.9.0.78/24"
  spoil source "$how"
  start=$(now)
  xl unpause "${PREFIX}source"
  wait_powered_off sink
  spoiled source && spoiled sink || fail "$how: the link was not like that"
  # Where the last acknowledgement is lost, the sink is gone, and the source asks for it until its patience ends.
  until_true 10 has_ended source || echo "$how: the source's goodbye is not answered"
  ! has_crashed source || fail "$how: the source crashed"
  bench_line sink >/dev/null
  echo "$how: image to image, ${thousands}000 bytes in $(($(now) - start)) ms"
  for name in sink source; do
    grep -aE 'Counters' "$(console $name)"
    xl destroy "$PREFIX$name"
  done
  rm -f "$(console sink)" "$(console source)"
done
