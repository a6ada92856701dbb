#!/bin/bash
# dom0's first process: what a distribution's start-up does for Xen, and nothing else.
# /job.env says how to reach the host tool: MODE (run or shell), and for run PORT and TOKEN.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C

power_off() {
  echo o >/proc/sysrq-trigger
  sleep 30
}
give_up() {
  echo "grantflow: dom0 cannot go on: $*"
  power_off
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/xen /run/xenstored /run/lock /var
ln -sfn /run /var/run
ln -sfn /run/lock /var/lock
for module in xen-evtchn xen-gntdev xen-gntalloc xenfs xen-privcmd xen-netback bridge e1000; do
  modprobe "$module" || give_up "modprobe $module failed"
done
mount -t xenfs xenfs /proc/xen
hostname dom0
# Xen keeps dom0 to the first CPU; the second is for the guests.
echo 'vm.cpumask = "1"' >>/etc/xen/xl.conf

xenstored --pid-file /run/xenstored.pid || give_up "xenstored did not start"
for ((i = 0; i < 100; i++)); do
  xenstore-read / >/dev/null 2>&1 && break
  sleep 0.1
done
xen-init-dom0 >/dev/null || give_up "xen-init-dom0 failed"
xenconsoled --log=all --timestamp=none --log-dir=/var/log/xen/console --pid-file=/run/xenconsoled.pid ||
  give_up "xenconsoled did not start"

# The card joins the bridge, so that guests and dom0 reach the machine outside as 10.0.2.2.
ip link set lo up
ip link add xenbr0 type bridge
for ((i = 0; i < 50; i++)); do
  [ -e /sys/class/net/eth0 ] && break
  sleep 0.1
done
ip link set eth0 master xenbr0
ip link set eth0 up
ip addr add 10.0.2.15/24 dev xenbr0
ip link set xenbr0 up
ip route add default via 10.0.2.2
echo "nameserver 10.0.2.3" >/etc/resolv.conf

. /job.env
cd /job || give_up "there is no /job"

if [ "$MODE" = shell ]; then
  stty rows "${ROWS:-24}" cols "${COLUMNS:-80}" 2>/dev/null
  [ -e /job/welcome ] && cat /job/welcome
  export TERM PS1='dom0:\w# '
  setsid cttyhack bash --norc -i
  power_off
fi

# Four streams back to the tool, each announced by the token: control, the job's two outputs, its files.
back=/dev/tcp/10.0.2.2/$PORT
for ((i = 0; i < 50; i++)); do
  { exec 4<>"$back"; } 2>/dev/null && break
  sleep 0.2
done
printf '%s control\nready %s\n' "$TOKEN" "$(cut -d' ' -f1 /proc/uptime)" >&4 || give_up "no way back to the tool"
exec 5<>"$back" 6<>"$back"
printf '%s stdout\n' "$TOKEN" >&5
printf '%s stderr\n' "$TOKEN" >&6
(
  unset TOKEN PORT MODE
  exec /job/run.sh
) >&5 2>&6 </dev/null 4>&- 5>&- 6>&-
status=$?
exec 5>&- 6>&-
exec 7<>"$back"
printf '%s files\n' "$TOKEN" >&7
tar -C /results -cf - out xen >&7
exec 7>&-
printf 'exit %s\n' "$status" >&4
# The tool ends the machine once it has everything; should it be gone, so is dom0.
read -r -t 120 _ <&4
power_off
