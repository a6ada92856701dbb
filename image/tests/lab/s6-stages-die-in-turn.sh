#!/bin/bash
# S6: each stage of a pipeline is destroyed in turn: its reader loses its writer, it comes back alone, and readings go on to the end
# timeout: 240
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
cat >"$file" <<EOT
name = "$name"
[defaults]
memory = 1
[[stage]]
name = "a"
app = "sensor"
parameters = { signal = "sine", rate = 50, count = 0, name.1 = "s" }
[[stage]]
name = "b"
app = "filter"
[[stage]]
name = "c"
app = "aggregator"
parameters = { window = "1s" }
[[stage]]
name = "d"
app = "log"
[[edge]]
name = "ab"
from = "a"
to = "b"
[[edge]]
name = "bc"
from = "b"
to = "c"
[[edge]]
name = "cd"
from = "c"
to = "d"
EOT
grantflow up --images "$IMAGES" "$file" >/dev/null || fail "up"
all="a b c d"
flows() { [ "$(counter d stats/in/cd readings)" -gt "$1" ]; }
for stage in $all; do wait_state "$stage" running; done
until_true "$PATIENCE" flows 0 || fail "nothing comes out"
for stage in $all; do
  before=
  for other in $all; do [ "$other" = "$stage" ] || before+="$other=$(domid "$other") "; done
  old=$(domid "$stage")
  xl destroy "$PREFIX$stage"
  came_back() { exists "$stage" && [ "$(domid "$stage")" != "$old" ]; }
  until_true "$PATIENCE" came_back || fail "$stage did not come back: $(cat "/run/grantflow/$name/supervisor.log")"
  for other in $all; do wait_state "$other" running; done
  after=
  for other in $all; do [ "$other" = "$stage" ] || after+="$other=$(domid "$other") "; done
  [ "$before" = "$after" ] || fail "when $stage died, others restarted: $before, $after"
  # What is counted anew in d begins at nought.
  seen=$(counter d stats/in/cd readings)
  until_true "$PATIENCE" flows "${seen/no_counter/0}" || fail "nothing comes out after $stage died"
done
for pair in "b ab" "c bc" "d cd"; do
  grep -aq "in.${pair#* }: lost its writer" "$(console "${pair% *}")" || fail "${pair% *} did not say that it lost its writer"
done
grantflow down --now "$name" >/dev/null || fail "down"
