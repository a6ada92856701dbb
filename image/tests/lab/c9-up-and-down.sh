#!/bin/bash
# C3, C9: a pipeline brought up and down twenty times, once by two composers at once, leaves nothing and takes no memory of the host
# timeout: 300
# soak timeout: 7200
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }
cycles=20
[ -z "${SOAK:-}" ] || cycles=1000

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
cat >"$file" <<EOT
name = "$name"
[[stage]]
name = "a"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 20, count = 0, name.1 = "s" }
[[stage]]
name = "b"
app = "log"
memory = 1
[[edge]]
from = "a"
to = "b"
EOT
up() { grantflow up --images "$IMAGES" "$@" "$file" 2>"$CONFIGS/said" >/dev/null || fail "up: $(cat "$CONFIGS/said")"; }
down() { grantflow down --now "$name" 2>"$CONFIGS/said" >/dev/null || fail "down: $(cat "$CONFIGS/said")"; }

# What a host has in use beside what leak_snapshot counts: free memory of Xen and of dom0, in MiB, descriptors and processes of the
# toolstack, files of ours.
free_of_xen() { xl info | sed -n 's/^free_memory *: //p'; }
free_of_dom0() { awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo; }
descriptors() { for id in $(pidof xenstored xenconsoled); do ls "/proc/$id/fd"; done | wc -l; }
processes() { ls -d /proc/[0-9]* | wc -l; }
files() { find /run/grantflow /var/lib/xen "$CONFIGS" 2>/dev/null | wc -l; }
no_supervisor() { ! grep -lsz -- "^$name\$" /proc/[0-9]*/cmdline | grep -q .; }

# The first time leaves what the toolstack keeps: caches, log files, a lock.
up
down
until_true "$PATIENCE" no_supervisor || fail "a supervisor outlives its pipeline"
leak_snapshot "$CONFIGS/before"
touch "$CONFIGS/after"
xen=$(free_of_xen) dom0=$(free_of_dom0) fds=$(descriptors) ids=$(processes) left=$(files)

# Two composers at once: one of them does it, and the other finds it done.
up &
first=$!
up --no-supervisor
wait "$first" || fail "of two composers at once one has failed"
[ "$(xl list | grep -c "$PREFIX")" = 2 ] || fail "two composers at once: $(xl list)"
down

for cycle in $(seq "$cycles"); do
  # A supervisor each tenth time: it sees the end at its next look.
  if [ $((cycle % 10)) = 0 ]; then up; else up --no-supervisor; fi
  [ "$cycle" != 1 ] || leak_visible "$CONFIGS/before"
  down
done
until_true "$PATIENCE" no_supervisor || fail "a supervisor outlives its pipeline"
rm -f "$CONFIGS/during"
leak_check "$CONFIGS/before"
same_memory() { [ "$(free_of_xen)" -ge "$xen" ]; }
until_true "$PATIENCE" same_memory || fail "Xen had $xen MiB and has $(free_of_xen)"
same_processes() { [ "$(processes)" -le "$ids" ] && [ "$(descriptors)" -le "$fds" ]; }
until_true "$PATIENCE" same_processes || fail "processes: $ids, $(processes); descriptors: $fds, $(descriptors)"
[ "$(files)" -le "$left" ] || fail "there were $left files, and there are $(files)"
# Logs lie in memory here, and slabs come and go; a leak of a page a cycle would not be seen before a thousand of them.
[ "$(free_of_dom0)" -ge $((dom0 - 8 - cycles / 50)) ] || fail "dom0 had $dom0 MiB and has $(free_of_dom0)"
echo "$cycles cycles; Xen $xen and $(free_of_xen) MiB, dom0 $dom0 and $(free_of_dom0) MiB, descriptors $fds and $(descriptors), files $left and $(files)"
