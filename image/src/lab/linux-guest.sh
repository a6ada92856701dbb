#!/bin/sh
# The Linux guest's first process. The kernel hands it what the command line says beside the kernel's own parameters:
# address=A.B.C.D/N for its one network interface, program="COMMAND..." for what it is there for.
export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
modprobe xen-netfront
tries=0
until [ -e /sys/class/net/eth0 ] || [ $tries = 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
ip link set lo up
ip addr add "$address" dev eth0
ip link set eth0 up
echo "running $program"
sh -c "$program"
echo "ended with status $?"
poweroff -f
