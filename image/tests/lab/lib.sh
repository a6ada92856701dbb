# Helpers for the lab's scenarios, which begin with:  . "$JOB/lab/lib.sh"
# Names of domains are given without PREFIX; it is added here, so that scenarios cannot meet.
set -u

IMAGES=$JOB/images
CONSOLES=/var/log/xen/console
CONFIGS=$(mktemp -d)
BRIDGES=
# How long to wait, in seconds, for what takes one or two on a quiet machine.
PATIENCE=${PATIENCE:-120}

cleanup() {
  local id
  for id in $(xl list | awk -v prefix="$PREFIX" 'NR > 1 && index($1, prefix) == 1 { print $2 }'); do
    xl destroy "$id"
  done
  # shellcheck disable=SC2046 # one word per process
  kill $(jobs -p) 2>/dev/null
  for id in $BRIDGES; do ip link del "$id"; done
  rm -rf "$CONFIGS"
}
trap cleanup EXIT

fail() {
  echo "fail: $*"
  exit 1
}
skip() {
  echo "skip: $*"
  exit 77
}
# need FILE: what this scenario cannot be tried without, below $JOB.
need() { [ -e "$JOB/$1" ] || skip "$1 is not in the lab"; }

# now: milliseconds, for waiting.
now() { echo $((${EPOCHREALTIME/./} / 1000)); }
# until_true SECONDS COMMAND...: runs the command again and again until it succeeds.
until_true() {
  local end=$(($(now) + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(now)" -lt "$end" ] || return 1
    sleep 0.2
  done
}

# config NAME IMAGE MEMORY EXTRA [MODULE]: writes a configuration and prints its path.
# ON_POWEROFF and ON_CRASH say what becomes of the domain; a crashed one is kept to look at. CONFIG holds further lines.
config() {
  local file=$CONFIGS/$1.cfg
  {
    echo "name = \"$PREFIX$1\""
    echo 'type = "pv"'
    echo "kernel = \"$IMAGES/$2.elf\""
    echo "memory = $3"
    echo "extra = '$4'"
    [ $# -lt 5 ] || echo "ramdisk = \"$5\""
    echo "on_poweroff = \"${ON_POWEROFF:-destroy}\""
    echo "on_crash = \"${ON_CRASH:-preserve}\""
    echo "${CONFIG:-}"
  } >"$file"
  echo "$file"
}
# create NAME IMAGE MEMORY EXTRA [MODULE]: boots an image; with PAUSED=1 it waits for `xl unpause` before its first instruction.
create() {
  [ -e "$IMAGES/$2.elf" ] || fail "images/$2.elf is not built"
  local file
  file=$(config "$@")
  # shellcheck disable=SC2086 # no word, or one
  xl create -q ${PAUSED:+-p} "$file" || fail "xl create $1 failed"
}

domid() { xl domid "$PREFIX$1" 2>/dev/null; }
exists() { domid "$1" >/dev/null; }
# domain_state NAME: the letters of `xl list`, for example ---s-- or ---sc-.
domain_state() { xl list "$PREFIX$1" 2>/dev/null | awk 'NR == 2 { print $5 }'; }
has_crashed() { [[ $(domain_state "$1") == *c* ]]; }
has_ended() { ! exists "$1" || [[ $(domain_state "$1") == *s* ]] || [[ $(domain_state "$1") == *c* ]]; }

console() { echo "$CONSOLES/guest-$PREFIX$1.log"; }
# wait_console NAME REGEX [SECONDS]: a line on the guest's console (grep -E).
wait_console() {
  until_true "${3:-$PATIENCE}" grep -aqE -- "$2" "$(console "$1")" || fail "$1 did not print /$2/ in ${3:-$PATIENCE} s"
}
# wait_gone NAME [SECONDS]: the domain is no more.
wait_gone() {
  gone() { ! exists "$1"; }
  until_true "${2:-$PATIENCE}" gone "$1" || fail "$1 is still there after ${2:-$PATIENCE} s, state $(domain_state "$1")"
}
# wait_ended NAME [SECONDS]: powered off or crashed, preserved or gone.
wait_ended() {
  until_true "${2:-$PATIENCE}" has_ended "$1" || fail "$1 has not ended after ${2:-$PATIENCE} s"
}
# wait_crashed NAME [SECONDS]: it ended with reason crash (and on_crash preserves it).
wait_crashed() {
  until_true "${2:-$PATIENCE}" has_crashed "$1" || fail "$1 has not crashed after ${2:-$PATIENCE} s, state $(domain_state "$1")"
}
# no_crash: none of this scenario's domains crashed.
no_crash() {
  local crashed
  crashed=$(xl list | awk -v prefix="$PREFIX" 'NR > 1 && index($1, prefix) == 1 && $5 ~ /c/ { print $1 }')
  [ -z "$crashed" ] || fail "crashed: $crashed"
}

# probe NAME MEMORY EXTRA [MODULE]: boots the image probe, and keeps it to look at when it has ended.
probe() {
  local name=$1
  shift
  ON_POWEROFF=preserve create "$name" probe "$@"
}
has_powered_off() { [[ $(domain_state "$1") == *s[-]* ]]; }
# wait_powered_off NAME [SECONDS]: it ended with reason poweroff (and on_poweroff preserves it).
wait_powered_off() {
  until_true "${2:-$PATIENCE}" has_ended "$1" || fail "$1 has not ended after ${2:-$PATIENCE} s"
  has_powered_off "$1" || fail "$1 ended, but not with poweroff: state $(domain_state "$1")"
}
# ended_with NAME REGEX [SECONDS]: it crashed, and its last line is the only one that says why.
ended_with() {
  wait_crashed "$1" "${3:-$PATIENCE}"
  wait_console "$1" "$2"
  local said
  said=$(grep -acE '(^|\] )(panic|fault|error|abort)' "$(console "$1")")
  [ "$said" = 1 ] || fail "$1 gave $said lines of reasons instead of one"
  tail -n 1 "$(console "$1")" | grep -aqE -- "$2" || fail "the last line of $1 is not its reason"
}
# says NAME KEY REGEX: what the probe left under data/probe/KEY.
says() {
  local said
  said=$(read_key "$1" "data/probe/$2")
  [[ $said =~ $3 ]] || fail "$1 said '$said' under $2, not /$3/"
}
# cpu_tenths NAME: the CPU time that it has used, in tenths of a second; `no_domain` if it is gone, which no sum accepts.
cpu_tenths() { xl list "$PREFIX$1" | awk 'NR == 2 { tenths = int($6 * 10 + 0.5) } END { print tenths == "" ? "no_domain" : tenths }'; }
# is_idle NAME SECONDS: over that time it uses less than 1 % of one CPU (or the resolution of `xl list`, a tenth).
is_idle() {
  local before after limit=$(($2 / 10 > 1 ? $2 / 10 : 1))
  before=$(cpu_tenths "$1")
  sleep "$2"
  after=$(cpu_tenths "$1")
  [ $((after - before)) -le "$limit" ] || fail "$1 used $((after - before)) tenths of a second of CPU in $2 s"
}
# counter NAME NODE KEY: a counter of a stage: counter src stats/stage in; `no_counter` if it has none, which no sum accepts.
counter() {
  read_key "$1" "data/grantflow/$2" | tr ' ' '\n' |
    awk -F= -v key="$3" '$1 == key { value = $2 } END { print value == "" ? "no_counter" : value }'
}

# read_key NAME KEY: a key below the domain's folder in xenstore.
read_key() { xenstore-read "/local/domain/$(domid "$1")/$2" 2>/dev/null; }
# state NAME: what the stage says about itself.
state() { read_key "$1" data/grantflow/state; }
# wait_state NAME STATE [SECONDS]: STATE is a pattern, for example "running" or "failed*".
wait_state() {
  # shellcheck disable=SC2053 # the state is compared with a pattern
  state_is() { [[ $(state "$1") == $2 ]]; }
  until_true "${3:-$PATIENCE}" state_is "$1" "$2" || fail "$1 is in state '$(state "$1")', not '$2', after ${3:-$PATIENCE} s"
}
# peer NAME EDGE DOMID [GENERATION]: dom0's word to a stage whose edge waits for its peer.
peer() { xenstore-write "/local/domain/$(domid "$1")/grantflow/peer/$2" "$3 ${4:-1}"; }
# read_edge NAME EDGE FILE: reads an edge that ends in dom0, with Debian's libxenvchan, in the background. The proxy ends with
# its input, and can sleep through an event: a byte each second keeps it going both ways.
read_edge() {
  local id
  id=$(domid "$1")
  { while sleep 1; do echo; done; } | vchan-socket-proxy -m server "$id" "data/vchan/$id/$2" - >"$3" &
}

# private_bridge [NAME]: a bridge of the scenario's own for the images that it boots from now on: on the lab's, QEMU answers for
# every address that nobody else has. The first one is private0, where dom0 is 10.9.0.1.
private_bridge() {
  BRIDGE=${1:-private0}
  # One that a scenario without an end has left.
  ip link del "$BRIDGE" 2>/dev/null
  ip link add "$BRIDGE" type bridge && ip link set "$BRIDGE" up || fail "no bridge"
  BRIDGES+=" $BRIDGE"
  [ $# -gt 0 ] || ip addr add 10.9.0.1/24 dev "$BRIDGE" || fail "no address for dom0"
}
# bench NAME EXTRA...: boots tcp-bench on that bridge, or on the lab's, and keeps it to look at when it has ended.
bench() {
  local name=$1
  shift
  CONFIG="vif = ['bridge=${BRIDGE:-xenbr0}${VIF:+,$VIF}']" ON_POWEROFF=preserve create "$name" tcp-bench 8 "$*"
}
# vchan_bench NAME EXTRA...: boots vchan-bench, which is gone once it has measured.
vchan_bench() {
  local name=$1
  shift
  create "$name" vchan-bench 2 "$*"
}
# bench_line NAME: the line that a measurement has ended with.
bench_line() {
  wait_console "$1" '^\{"bench":"[a-z]+",.*\}'
  grep -a '^{"bench":' "$(console "$1")" | tr -d '\r'
}
# bench_figure NAME KEY: a whole number out of that line.
bench_figure() { bench_line "$1" | sed -nE "s/.*\"$2\":([0-9]+).*/\1/p"; }
# median NUMBER...
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# linux_guest NAME [ADDRESS [PROGRAM]]: boots the Linux guest, with an address on the bridge; it runs the program and powers off,
# and without one takes orders.
linux_guest() {
  need linux-guest/vmlinuz
  local file=$CONFIGS/$1.cfg
  {
    echo "name = \"$PREFIX$1\""
    echo 'type = "pv"'
    echo "kernel = \"$JOB/linux-guest/vmlinuz\""
    echo "ramdisk = \"$JOB/linux-guest/initramfs\""
    echo "memory = ${GUEST_MEMORY:-192}"
    echo "extra = 'console=hvc0 quiet mitigations=off${2:+ address=$2}${3:+ program=\"$(echo $3)\"}'"
    [ -z "${2:-}" ] || echo "vif = ['bridge=${BRIDGE:-xenbr0}']"
    echo 'on_poweroff = "preserve"'
    echo 'on_crash = "preserve"'
    echo "${CONFIG:-}"
  } >"$file"
  xl create -q "$file" || fail "xl create $1 failed"
}
# order NAME COMMAND: what a Linux guest without a program is to do next; obeyed NAME [SECONDS]: it has done it, and with success.
order() {
  local last
  last=$(read_key "$1" data/run)
  # In one line: a line's end is escaped where it is read.
  xenstore-write "/local/domain/$(domid "$1")/data/run" "$((${last%% *} + 1)) ${2//$'\n'/ }"
}
obeyed() {
  local order ran
  order=$(read_key "$1" data/run)
  has_run() {
    ran=$(read_key "$1" data/ran)
    [ "${ran% *}" = "${order%% *}" ]
  }
  until_true "${2:-$PATIENCE}" has_run "$1" || fail "$1 has not done what it was ordered to do"
  [ "${ran#* }" = 0 ] || fail "$1 ended with ${ran#* }: $(read_key "$1" data/said)"
}

# What a machine has in use. leak_snapshot FILE before, leak_check FILE after: the same again, or the scenario fails.
leak_snapshot() {
  {
    echo "domains $(xl list | tail -n +2 | wc -l)"
    echo "event channels of dom0 $(lsevtchn 0 | wc -l)"
    echo "xenstore entries of domains $(xenstore-ls /local/domain | grep -cE '^ ?[0-9]+ = ')"
    echo "xenstore entries of machines $(xenstore-ls /vm 2>/dev/null | grep -cE '^ ?[0-9a-f-]+ = ')"
    echo "grants in use $(grants_in_use)"
  } >"$1"
}
# leak_visible FILE: now that domains of the scenario run and are connected, every figure is above what FILE holds; one that
# never moves would find no leak.
leak_visible() {
  local during=$CONFIGS/during what count
  leak_snapshot "$during"
  while read -r what; do
    count=$(sed -n "s/^${what% *} //p" "$during")
    [ "$count" -gt "${what##* }" ] || fail "with domains running: $count ${what% *}, before: ${what##* }"
  done <"$1"
}
# grants_in_use: how many grants of any domain are mapped, from the hypervisor's own dump.
grants_in_use() {
  xl dmesg -c >/dev/null
  xl debug-keys g
  xl dmesg | grep -cE '^\(XEN\) +\[[0-9a-fx]+\]'
}
leak_check() {
  local after=$CONFIGS/after
  same_again() {
    leak_snapshot "$after"
    cmp -s "$1" "$after"
  }
  # A destroyed domain's last pages and ports go when its peers have let go of them.
  until_true "${2:-$PATIENCE}" same_again "$1" && return
  fail "before: $(paste -sd, "$1"); after: $(paste -sd, "$after")"
}
