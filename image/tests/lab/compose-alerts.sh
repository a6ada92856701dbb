#!/bin/bash
# A recording through filter, detector and log, brought up by one command that waits: every alert is raised once and cleared once
. "$JOB/lab/lib.sh"
need bin/grantflow

name=${PREFIX%-}
sed "s#\.\./\.\./data#$JOB/data#; 1i name = \"$name\"" "$JOB/pipelines/alerts.toml" >"$CONFIGS/alerts.toml"
"$JOB/bin/grantflow" up --images "$IMAGES" --no-supervisor --wait --json "$CONFIGS/alerts.toml" >"$CONFIGS/said" ||
  fail "up: $(cat "$CONFIGS/said")"
[ "$(grep -o '"state":"done"' "$CONFIGS/said" | wc -l)" = 4 ] || fail "not all is done: $(cat "$CONFIGS/said")"
alerts=$(grep -ac 'water-flow:alert' "$(console log)")
[ "$alerts" -gt 1 ] || fail "$alerts alerts alone"
# Raised, cleared, raised, and so on.
grep -a 'water-flow:alert' "$(console log)" | sed 's/.*"vb":\([a-z]*\).*/\1/' |
  awk '{ expected = NR % 2 ? "true" : "false"; if ($1 != expected) exit 1 }' || fail "alerts do not alternate: $(grep -a alert "$(console log)")"
[ "$alerts" = "$(counter alarm stats/stage out)" ] || fail "$alerts of $(counter alarm stats/stage out) alerts reached the log"
"$JOB/bin/grantflow" down --now "$name" >/dev/null || fail "down"
echo "$alerts alerts"
