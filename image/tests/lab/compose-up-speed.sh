#!/bin/bash
# How long `grantflow up` of four stages takes, beside the same four `xl create` in a row and nothing else
# measures
# timeout: 400
. "$JOB/lab/lib.sh"
need bin/grantflow

rounds=9
name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
stages="source smooth alarm log"
cat >"$file" <<END
name = "$name"
[[stage]]
name = "source"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 20, count = 0, name.1 = "s" }
[[stage]]
name = "smooth"
app = "filter"
memory = 1
[[stage]]
name = "alarm"
app = "detect"
memory = 1
parameters = { above.s = 0.5 }
[[stage]]
name = "log"
app = "log"
memory = 1
[[edge]]
from = "source"
to = "smooth"
[[edge]]
from = "smooth"
to = "alarm"
[[edge]]
name = "alerts"
from = "alarm"
to = "log"
END
# The same by hand.
config source sensor 1 "stage=source out.source=? signal=sine rate=20 count=0 name.1=s" >/dev/null
config smooth filter 1 "stage=smooth in.source=? out.smooth=?" >/dev/null
config alarm detect 1 "stage=alarm in.smooth=? out.alerts=? above.s=0.5" >/dev/null
config log log 1 "stage=log in.alerts=?" >/dev/null

# micros COMMAND...: how long it takes, in microseconds.
micros() {
  local start=${EPOCHREALTIME/./}
  "$@" >/dev/null || fail "$*"
  echo $((${EPOCHREALTIME/./} - start))
}
creates() {
  local stage
  for stage in $stages; do xl create -q "$@" "$CONFIGS/$stage.cfg" || return 1; done
}
destroy_all() { for stage in $stages; do xl destroy "$PREFIX$stage"; done; }
up() { "$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor "$file" 2>"$CONFIGS/said" || fail "$(cat "$CONFIGS/said")"; }

bare=() alone=() whole=()
for ((round = 0; round < rounds; round++)); do
  # Whoever is first in a round is the last in the next.
  for what in $([ $((round % 2)) = 0 ] && echo bare alone whole || echo whole alone bare); do
    case $what in
      bare)
        bare+=("$(micros creates)") || exit 1
        destroy_all
        ;;
      # As `up` does it: no process of xl stays to wait for the domain's end.
      alone)
        alone+=("$(micros creates -e)") || exit 1
        destroy_all
        ;;
      whole)
        whole+=("$(micros up)") || exit 1
        "$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
        ;;
    esac
  done
  echo "round $round: xl create four times ${bare[round]} us, with -e ${alone[round]} us, up ${whole[round]} us"
done
echo "one of each: xl list $(micros xl list -v) us, xl info $(micros xl info) us, grantflow --version $(micros "$JOB/bin/grantflow" --version) us"
# ratio A B: A over B, with two digits.
ratio() { echo "$(($1 / $2)).$(printf %02d $(($1 * 100 / $2 % 100)))"; }
least() { printf '%s\n' "$@" | sort -n | head -n 1; }
for of in median least; do
  one=$($of "${bare[@]}") other=$($of "${alone[@]}") all=$($of "${whole[@]}")
  echo "$of of $rounds: xl create four times $one us, with -e $other us, grantflow up $all us: $(ratio "$all" "$one"), $(ratio "$all" "$other")"
done
