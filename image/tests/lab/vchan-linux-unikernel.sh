#!/bin/bash
# vcat in dom0 and a unikernel, both roles, rings of several orders: bytes compared, and nothing left in dom0
# timeout: 300
. "$JOB/lab/lib.sh"
vcat=$JOB/bin/vcat

leak_snapshot "$CONFIGS/before"
# What libxenvchan's programs of other scenarios have left is not ours.
others=$(xenstore-ls /local/domain/0/data 2>/dev/null)
head -c 300001 /dev/urandom >"$CONFIGS/in"
sum="300001 bytes, crc32 $(crc32 "$CONFIGS/in" | cut -d' ' -f1)"
for ring in 1024 2048 65536; do
  # The unikernel offers and echoes, vcat connects.
  probe "echo$ring" 4 "do=echo in.e=0,ring=$ring"
  id=$(domid "echo$ring")
  "$vcat" connect -v --wait "$PATIENCE" --linger 5 "xen:$id:/local/domain/$id/data/vchan/0/e" \
    <"$CONFIGS/in" >"$CONFIGS/out" || fail "vcat connect failed, ring $ring"
  cmp "$CONFIGS/in" "$CONFIGS/out" || fail "vcat got other bytes back than it sent, ring $ring"
  wait_powered_off "echo$ring"
  says "echo$ring" edge/e "^echoed $sum\$"

  # vcat offers and echoes by a program, the unikernel connects.
  probe "exchange$ring" 4 "do=exchange out.e=0 bytes=200003 seed=$ring"
  id=$(domid "exchange$ring")
  "$vcat" listen -v --wait "$PATIENCE" --ring "$ring" --back "$((ring == 1024 ? 2048 : ring))" "xen:$id:data/vchan/$id/e" \
    -- tee "$CONFIGS/echoed" || fail "vcat listen failed, ring $ring"
  wait_powered_off "exchange$ring"
  says "exchange$ring" edge/e "^exchanged [0-9]+ bytes, crc32 "
  said=$(read_key "exchange$ring" data/probe/edge/e)
  [ "$said" = "exchanged $(wc -c <"$CONFIGS/echoed") bytes, crc32 $(crc32 "$CONFIGS/echoed" | cut -d' ' -f1)" ] ||
    fail "the unikernel $said, vcat echoed other bytes"
done

# Standard output alone, from a peer that sends and closes.
probe source 4 "do=source out.e=0 bytes=1M"
id=$(domid source)
"$vcat" listen --wait "$PATIENCE" "xen:$id:data/vchan/$id/e" recv:"$CONFIGS/read" || fail "vcat recv failed"
wait_powered_off source
said=$(read_key source data/probe/edge/e)
[ "$said" = "sent $(wc -c <"$CONFIGS/read") bytes, crc32 $(crc32 "$CONFIGS/read" | cut -d' ' -f1)" ] ||
  fail "the unikernel $said; vcat read $(wc -c <"$CONFIGS/read") bytes"

[ "$(xenstore-ls /local/domain/0/data 2>/dev/null)" = "$others" ] || fail "left in xenstore: $(xenstore-ls /local/domain/0/data)"
for id in $(xl list | awk -v prefix="$PREFIX" 'NR > 1 && index($1, prefix) == 1 { print $2 }'); do xl destroy "$id"; done
leak_check "$CONFIGS/before"
