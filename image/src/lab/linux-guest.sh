#!/bin/sh
# The Linux guest's first process. The kernel hands it what the command line says beside the kernel's own parameters:
# address=A.B.C.D/N for its one network interface, program="COMMAND..." for what it is there for.
# Without a program it takes orders, `NUMBER COMMAND` in data/run of its folder in xenstore, one after the other: each goes to a
# shell, its output to the console, its last line to data/said, and then `NUMBER STATUS` to data/ran.
export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in xen-netfront xen-evtchn xen-gntalloc xen-gntdev xen-privcmd; do
  modprobe "$module"
done
ip link set lo up
if [ -n "$address" ]; then
  tries=0
  until [ -e /sys/class/net/eth0 ] || [ $tries = 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  ip addr add "$address" dev eth0
  ip link set eth0 up
fi
if [ -n "$program" ]; then
  echo "running $program"
  sh -c "$program"
  echo "ended with status $?"
  poweroff -f
fi
last=
# A watch fires once as soon as it stands, so that no order falls between two looks.
xenstore watch data/run | while read -r _; do
  order=$(xenstore read data/run 2>/dev/null)
  number=${order%% *}
  [ "$number" != "$last" ] || continue
  last=$number
  echo "running ${order#* }"
  sh -c "${order#* }" >/said 2>&1 </dev/null
  status=$?
  cat /said
  xenstore write data/said "$(tail -n 1 /said)" data/ran "$number $status"
done
echo "no more orders can come"
poweroff -f
