#!/bin/bash
# What `make dist` packs runs in a dom0 without Rust: checksums, the demo without and with a broker, the sample configurations
# timeout: 480
. "$JOB/lab/lib.sh"

need dist.tar.gz
cd "$CONFIGS" || fail "no scratch folder"
tar xzf "$JOB/dist.tar.gz" || fail "the archive cannot be unpacked"
cd grantflow-* || fail "the archive has no folder of its own"
sha256sum -c SHA256SUMS >/dev/null || fail "a checksum is wrong"
[ "$(wc -l <SHA256SUMS)" = "$(find . -type f ! -name SHA256SUMS | wc -l)" ] || fail "a file has no checksum"

# demo ARGUMENTS...: runs it, and every window must be right.
demo() {
  ./grantflow demo --target xen "$@" >demo.log 2>&1 || fail "the demo failed: $(tail -n 1 demo.log)"
  tail -n 1 demo.log | grep -qx 'verified 1153 of 1153 windows' || fail "the demo ended with: $(tail -n 1 demo.log)"
}
demo
grep -q '^aggregator -> dom0' demo.log || fail "the windows did not cross the vchan to dom0: $(cat demo.log)"
if [ -e "$JOB/outside/broker" ]; then
  PATH=$JOB/bin:$PATH demo --broker "$(cat "$JOB/outside/broker")"
  grep -q '^aggregator -> gateway' demo.log || fail "the windows did not go to the gateway: $(cat demo.log)"
else
  untried="the demo with a broker: no Mosquitto outside"
fi

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
[ -z "${untried:-}" ] || skip "all but $untried"
