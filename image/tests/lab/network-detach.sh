#!/bin/bash
# A connection lives through xl network-detach and attach
# timeout: 240
. "$JOB/lab/lib.sh"
need bin/tcp-peer

private_bridge

mac=00:16:3e:11:22:33
VIF="mac=$mac" bench echo "role=server addr=0.0.0.0:5001 mode=echo size=100 count=20000 check=on ip=10.9.0.77/24"
wait_console echo 'listening on port 5001'
"$JOB/bin/tcp-peer" client 10.9.0.77 5001 echo 100 20000 check >"$CONFIGS/said" &
peer=$!
id=$(domid echo)
in_use() { xenstore-read "/local/domain/$id/device/vif/0/state" | grep -qx "$1"; }
gone() { ! xenstore-read "/local/domain/$id/device/vif/0/backend"; }
times() { [ "$(grep -ac "$1" "$(console echo)")" -ge "$2" ]; }

for round in 1 2 3; do
  until_true "$PATIENCE" times 'the interface is up' "$round" || fail "round $round: the interface is not up"
  until_true "$PATIENCE" in_use 4 || fail "round $round: state $(xenstore-read "/local/domain/$id/device/vif/0/state")"
  [ "$round" = 3 ] && break
  xl network-detach "$id" 0 || fail "xl network-detach"
  until_true "$PATIENCE" times 'the interface is down' "$round" || fail "round $round: the interface is not down"
  until_true "$PATIENCE" gone || fail "round $round: the device is still there"
  # Nothing that we left is in the way of the next one.
  [ -z "$(xenstore-ls "/local/domain/$id/device/vif/0" 2>/dev/null)" ] || fail "nodes are left: $(xenstore-ls "/local/domain/$id/device/vif")"
  xl network-attach "$id" "mac=$mac" bridge="$BRIDGE" || fail "xl network-attach"
done
wait $peer || fail "the connection did not survive"
grep -q '^2000000 bytes' "$CONFIGS/said" || fail "$(cat "$CONFIGS/said")"
wait_powered_off echo
