#!/bin/bash
# A reader that is paused holds up nobody where its edge says drop-newest: what it misses is counted, and the sums are right at the end
# timeout: 180
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
# reader NAME POLICY: windows of what the source sends, on an edge of its own.
reader() {
  cat <<EOT
[[stage]]
name = "$1"
app = "aggregator"
memory = 1
parameters = { window = "1h", results = "console" }
[[edge]]
name = "$1"
from = "source"
to = "$1"
ring = "1K"
policy = "$2"
EOT
}
{
  cat <<EOT
name = "$name"
[[stage]]
name = "source"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 500, count = 6000, name.1 = "s" }
EOT
  reader here block
  reader away drop-newest
} >"$file"
grantflow up --images "$IMAGES" --no-supervisor "$file" >/dev/null || fail "up"
for stage in source here away; do wait_state "$stage" running; done
xl pause "${PREFIX}away" || fail "xl pause"
sheds() { [ "$(counter source stats/out/away lost)" -gt 0 ]; }
until_true "$PATIENCE" sheds || fail "nothing is left out while the reader is paused: $(read_key source data/grantflow/stats/out/away)"
seen=$(counter here stats/in/here readings)
goes_on() { [ "$(counter here stats/in/here readings)" -gt $((seen + 500)) ]; }
until_true "$PATIENCE" goes_on || fail "the other reader is held up"
[ "$(counter source stats/out/here lost)" = 0 ] || fail "an edge that blocks has lost something"
xl unpause "${PREFIX}away"
grantflow --json top --interval 1 "$name" | grep -q '"edge":"away"' || fail "top"
for stage in source here away; do
  done_is() { [ "$(state "$1")" = done ]; }
  until_true "$PATIENCE" done_is "$stage" || fail "$stage is $(state "$stage")"
done
for edge in here away; do
  sent=$(counter source "stats/out/$edge" readings) left=$(counter source "stats/out/$edge" lost)
  got=$(counter "$edge" "stats/in/$edge" readings) lost=$(counter "$edge" "stats/in/$edge" lost)
  echo "$edge: $sent sent, $got received, $left left out, $lost lost"
  [ "$sent" = 6000 ] && [ "$sent" = $((got + left + lost)) ] || fail "$edge: $sent is not $got + $left + $lost"
done
grantflow down --now "$name" >/dev/null || fail "down"
