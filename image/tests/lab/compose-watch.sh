#!/bin/bash
# A running pipeline is watched: top, metrics and the live graph tell what its counters say, and a stage that is gone is at fault
. "$JOB/lab/lib.sh"
need bin/grantflow
grantflow() { "$JOB/bin/grantflow" "$@"; }

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
cat >"$file" <<EOT
name = "$name"
[[stage]]
name = "source"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 100, count = 0, name.1 = "s" }
[[stage]]
name = "windows"
app = "aggregator"
memory = 1
parameters = { window = "1s", results = "console" }
[[edge]]
name = "readings"
from = "source"
to = "windows"
EOT
grantflow up --images "$IMAGES" --no-supervisor "$file" || fail "up"
wait_state windows running
counted() { [ "$(counter windows stats/stage in)" -gt 0 ]; }
until_true "$PATIENCE" counted || fail "no reading has come"

# A source of a hundred a second, seen over some seconds, as stages tell once in each.
grantflow --json top --interval 4 "$name" >"$CONFIGS/top" || fail "top"
cat "$CONFIGS/top"
rate=$(sed 's/.*"edge":"readings"//; s/.*"rates":{"readings":\([0-9]*\).*/\1/' "$CONFIGS/top")
[ "$rate" -gt 0 ] || fail "an edge that readings go over has rate $rate"
grep -q '"stage":"windows".*"phase":"running"' "$CONFIGS/top" || fail "top: $(cat "$CONFIGS/top")"
grantflow top --once --interval 1 "$name" | grep -q '^readings source windows ' || fail "top as text"

# Metrics, once and by a port, with a value that xenstore has too.
grantflow metrics --once --format prometheus "$name" >"$CONFIGS/metrics" || fail "metrics"
grep -q "^grantflow_stage_up{pipeline=\"$name\",stage=\"source\"} 1$" "$CONFIGS/metrics" || fail "metrics: $(cat "$CONFIGS/metrics")"
grantflow metrics --listen 127.0.0.1:9464 "$name" 2>/dev/null &
scrape() {
  exec 3<>/dev/tcp/127.0.0.1/9464 || return 1
  printf 'GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n' >&3
  cat <&3 >"$CONFIGS/scraped"
  exec 3>&-
}
until_true "$PATIENCE" scrape || fail "nobody answers on the port"
received() { sed -n "s/^grantflow_readings_received_total{.*stage=\"windows\".*} //p" "$1"; }
[ "$(received "$CONFIGS/scraped")" -ge "$(received "$CONFIGS/metrics")" ] || fail "scraped: $(cat "$CONFIGS/scraped")"
[ "$(tail -n 1 "$CONFIGS/scraped")" = '# EOF' ] || fail "scraped: $(cat "$CONFIGS/scraped")"

# Who is gone is at fault everywhere.
xl destroy "${PREFIX}windows"
grantflow graph --live --interval 1 --images "$IMAGES" --format dot "$file" >"$CONFIGS/dot" || fail "graph"
grep -q '"windows" .*label="windows\\naggregator\\ngone", color=red' "$CONFIGS/dot" || fail "graph: $(cat "$CONFIGS/dot")"
grep -q '"source" -> "windows" .*/s"' "$CONFIGS/dot" || fail "graph: $(cat "$CONFIGS/dot")"
until_true "$PATIENCE" scrape || fail "nobody answers any more"
sleep 1.1
until_true "$PATIENCE" scrape
grep -q 'grantflow_stage_state="gone"} 1' "$CONFIGS/scraped" || fail "a stage that is gone: $(cat "$CONFIGS/scraped")"
grantflow down --now "$name" >/dev/null || fail "down"
sleep 1.1
until_true "$PATIENCE" scrape
grep -q "^grantflow_pipeline_up{pipeline=\"$name\"} 0$" "$CONFIGS/scraped" || fail "of a pipeline that is down: $(cat "$CONFIGS/scraped")"
