#!/bin/bash
# Which domains there are, their CPU time and what memory is free are learnt from Xen, as `xl` tells them too; where Xen cannot be asked, `xl` is
# timeout: 200
. "$JOB/lab/lib.sh"
need bin/grantflow

name=${PREFIX%-}
file=$CONFIGS/pipeline.toml
# pipeline MEMORY: a source, and windows that have so much.
pipeline() {
  cat >"$file" <<END
name = "$name"
[[stage]]
name = "source"
app = "sensor"
memory = 1
parameters = { signal = "sine", rate = 20, count = 0, name.1 = "s" }
[[stage]]
name = "windows"
app = "aggregator"
memory = $1
parameters = { window = "1s", results = "console" }
[[edge]]
from = "source"
to = "windows"
END
}

# An `xl` in front of the other, which notes what for it is started.
mkdir "$CONFIGS/bin"
cat >"$CONFIGS/bin/xl" <<END
#!/bin/bash
echo "\$1" >>"$CONFIGS/calls"
exec $(command -v xl) "\$@"
END
chmod +x "$CONFIGS/bin/xl"
grantflow() { PATH=$CONFIGS/bin:$PATH "$JOB/bin/grantflow" "$@"; }
# calls: what it was started for since it was last asked, and how often: `create 2 list 1`.
calls() {
  sort "$CONFIGS/calls" | uniq -c | awk '{ printf "%s %s ", $2, $1 }'
  : >"$CONFIGS/calls"
}
: >"$CONFIGS/calls"

pipeline 2
grantflow up --images "$IMAGES" --no-supervisor "$file" || fail "up"
said=$(calls)
[ "$said" = "create 2 " ] || fail "up has started xl for: $said"
wait_state windows running

# listed NAME FIELD: a field of `xl list -v`.
listed() { xl list -v | awk -v name="$PREFIX$1" -v field="$2" '$1 == name { print $field }'; }
# told NAME KEY: a number of `status --json`.
told() { sed "s/},{/}\n{/g" "$CONFIGS/status" | sed -n "s/.*\"$2\":\([0-9.]*\).*\"stage\":\"$1\".*/\1/p"; }
for stage in source windows; do
  before=$(listed "$stage" 6)
  grantflow --json status "$name" >"$CONFIGS/status" || fail "status"
  after=$(listed "$stage" 6)
  cpu=$(told "$stage" cpu_seconds)
  # `xl` rounds to a tenth.
  awk "BEGIN { exit !($before - 0.051 <= $cpu && $cpu <= $after + 0.051) }" ||
    fail "$stage has used $cpu s of CPU time, and by xl $before before and $after after: $(cat "$CONFIGS/status")"
  [[ $cpu =~ \.[0-9]{3} ]] || fail "$cpu s of CPU time are not told by Xen"
  [ "$(told "$stage" memory_mib)" = "$(listed "$stage" 3)" ] || fail "memory of $stage: $(cat "$CONFIGS/status"), $(xl list)"
  [ "$(told "$stage" domid)" = "$(domid "$stage")" ] || fail "number of $stage: $(cat "$CONFIGS/status"), $(xl list)"
done
grantflow top --once --interval 1 "$name" >/dev/null || fail "top"
grantflow metrics --once --format prometheus "$name" >/dev/null || fail "metrics"
said=$(calls)
[ "$said" = "" ] || fail "to look at a pipeline xl was started for: $said"

pipeline 100000
grantflow up --images "$IMAGES" --no-supervisor "$file" 2>"$CONFIGS/said" && fail "more memory than there is was given"
free=$(xl info | awk '$1 == "free_memory" { print $3 }')
grep -q " $free MiB are free" "$CONFIGS/said" || fail "$free MiB are free by xl; $(cat "$CONFIGS/said")"
calls >/dev/null

# A kernel without the device, which `xl` can do without.
mv /dev/xen/hypercall /dev/xen/away || fail "mv"
grantflow --json status "$name" >"$CONFIGS/status"
pipeline 1
grantflow up --images "$IMAGES" --no-supervisor "$file"
up=$?
mv /dev/xen/away /dev/xen/hypercall
[ "$up" = 0 ] || fail "up without Xen's word"
cpu=$(told source cpu_seconds)
[[ $cpu =~ ^[0-9]+\.[0-9]$ ]] || fail "$cpu s of CPU time are not told by xl"
said=$(calls)
[[ $said =~ "create 1 ".*"info 1 list "[1-9] ]] || fail "without Xen's word xl was started for: $said"

grantflow down --now "$name" || fail "down"
said=$(calls)
[ "$said" = "destroy 2 " ] || fail "down has started xl for: $said"
