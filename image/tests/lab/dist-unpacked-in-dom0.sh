#!/bin/bash
# What `make dist` packs runs in a dom0 without Rust: checksums, the demo, and one image booted from its sample configuration
# timeout: 300
. "$JOB/lab/lib.sh"

need dist.tar.gz
cd "$CONFIGS" || fail "no scratch folder"
tar xzf "$JOB/dist.tar.gz" || fail "the archive cannot be unpacked"
cd grantflow-* || fail "the archive has no folder of its own"
sha256sum -c SHA256SUMS >/dev/null || fail "a checksum is wrong"
[ "$(wc -l <SHA256SUMS)" = "$(find . -type f ! -name SHA256SUMS | wc -l)" ] || fail "a file has no checksum"

./grantflow demo --target xen >demo.log 2>&1 || fail "the demo failed: $(tail -n 1 demo.log)"
tail -n 1 demo.log | grep -qx 'verified 1153 of 1153 windows' || fail "the demo ended with: $(tail -n 1 demo.log)"

# The samples, as they stand but for a name of this scenario's own.
for name in sensor aggregator; do
  sed -i "s/^name .*/name = \"$PREFIX$name\"/" "examples/$name.cfg"
  xl create -q "examples/$name.cfg" || fail "xl create examples/$name.cfg failed"
done
wait_state sensor "waiting flow"
peer sensor flow "$(domid aggregator)"
peer aggregator flow "$(domid sensor)"
wait_gone sensor
wait_gone aggregator
wait_console aggregator '"bn":"water-flow:".*"n":"count"'
