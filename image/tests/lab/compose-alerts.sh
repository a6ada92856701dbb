#!/bin/bash
# A recording through filter, detector and log, by one command that waits, and from rendered files: each alert is raised and cleared once
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

# The same from rendered files, with xl alone.
rendered=$CONFIGS/rendered
"$JOB/bin/grantflow" render --images "$IMAGES" --format xl --out "$rendered" "$CONFIGS/alerts.toml" >/dev/null || fail "render"
for config in "$rendered"/*.cfg; do xl create -q "$config" || fail "xl create $config: $(cat "$config")"; done
sh "$rendered/$name-peers.sh" || fail "peers"
for stage in source smooth alarm log; do wait_gone "$stage"; done
both=$(grep -ac 'water-flow:alert' "$(console log)")
[ "$both" = $((2 * alerts)) ] || fail "from rendered files came $((both - alerts)) of $alerts alerts"
echo "$alerts alerts"
