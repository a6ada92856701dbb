#!/bin/bash
# R10: vcat against Debian's libxenvchan and vchan-socket-proxy, both in dom0, both roles: bytes compared, and nothing left
# timeout: 300
. "$JOB/lab/lib.sh"
need bin/vchan-peer
vcat=$JOB/bin/vcat

# Peers in one domain meet under their own id, 0.
path=/local/domain/0/data/vchan/0
keys() { xenstore-ls -f "$path" 2>/dev/null | grep -E 'ring-ref|event-channel'; }
leak_snapshot "$CONFIGS/before"
keys >"$CONFIGS/keys"
head -c 300001 /dev/urandom >"$CONFIGS/in"
sum="300001 bytes, crc32 $(crc32 "$CONFIGS/in" | cut -d' ' -f1)"
for ring in 1024 2048 65536; do
  "$JOB/bin/vchan-peer" echo server 0 "$path/s$ring" "$ring" "$ring" >"$CONFIGS/echoed" &
  "$vcat" connect -v --wait "$PATIENCE" --linger 5 "xen:0:$path/s$ring" <"$CONFIGS/in" >"$CONFIGS/out" ||
    fail "vcat connect failed, ring $ring"
  wait $! || fail "the C server failed, ring $ring"
  cmp "$CONFIGS/in" "$CONFIGS/out" || fail "vcat got other bytes back than it sent, ring $ring"
  [ "$(cat "$CONFIGS/echoed")" = "$sum" ] || fail "the C server echoed $(cat "$CONFIGS/echoed")"

  "$vcat" listen -v --wait "$PATIENCE" --ring "$ring" --back "$ring" "xen:0:$path/c$ring" -- cat &
  "$JOB/bin/vchan-peer" exchange client 0 "$path/c$ring" <"$CONFIGS/in" >"$CONFIGS/out" ||
    fail "the C client failed, ring $ring"
  cmp "$CONFIGS/in" "$CONFIGS/out" || fail "the C client got other bytes back than it sent, ring $ring"
  kill $! 2>/dev/null
  wait $!
done

# The proxy ends with its input, so that this stays open until everything is there.
back() { cmp -s "$CONFIGS/in" "$CONFIGS/proxied"; }
input() {
  cat "$CONFIGS/in"
  until_true "$PATIENCE" back
}
rm -f "$CONFIGS/proxied"
input | vchan-socket-proxy -m server 0 "$path/proxy" - >/dev/null &
"$vcat" connect --wait "$PATIENCE" "xen:0:$path/proxy" recv:"$CONFIGS/proxied" &
until_true "$PATIENCE" back || fail "$(wc -c <"$CONFIGS/proxied") of 300001 bytes came from the proxy, a server"
wait

rm "$CONFIGS/proxied"
"$vcat" listen --wait "$PATIENCE" "xen:0:$path/back" -- cat &
input | vchan-socket-proxy -m client 0 "$path/back" - >"$CONFIGS/proxied" &
until_true "$PATIENCE" back || fail "$(wc -c <"$CONFIGS/proxied") of 300001 bytes came back to the proxy, a client"
wait

# Of the C servers' paths the empty folders stay; of none a key.
keys | diff "$CONFIGS/keys" - || fail "keys are left in xenstore"
leak_check "$CONFIGS/before"
