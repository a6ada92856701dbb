#!/bin/busybox sh
# The first process of the least Linux guest: one program, and nothing else. The kernel hands it what its command line says beside
# the kernel's own parameters: modules="NAME..." to load, address=A.B.C.D/N for its one network interface, program="COMMAND...".
box=/bin/busybox
$box mount -t proc proc /proc
$box mount -t devtmpfs dev /dev
for module in $modules; do
  $box modprobe "$module"
done
if [ -n "$address" ]; then
  # There is an interface once the driver has met its other half.
  until $box ip link set eth0 up 2>/dev/null; do
    $box usleep 2000
  done
  $box ip addr add "$address" dev eth0
fi
$program
echo "ended with status $?"
$box poweroff -f
