#!/bin/bash
# What `make dist` packs compares in a dom0 without Rust, with Linux guests of what is installed; nothing is left of it, even killed
# timeout: 480
. "$JOB/lab/lib.sh"
need dist.tar.gz
need linux-guest/initramfs

# What a Debian has installed and the lab's dom0 has not: the kernel's file, and of the guest's root its modules, its programs and
# their libraries. All of it goes again.
release=$(uname -r)
modules=/lib/modules/$release
added=()
installed() {
  [ -e "$2" ] && return
  mkdir -p "${2%/*}"
  cp -P "$1" "$2" && added+=("$2")
}
mkdir "$CONFIGS/root" && (cd "$CONFIGS/root" && busybox cpio -id) <"$JOB/linux-guest/initramfs" 2>/dev/null ||
  fail "the Linux guest's archive cannot be unpacked"
installed "$JOB/linux-guest/vmlinuz" "/boot/vmlinuz-$release"
(cd "$CONFIGS/root" && find . -type f) >"$CONFIGS/files"
while read -r file; do
  case $file in
    ./init | ./bin/sh | */modules.dep) ;;
    # What Debian's packages have in bin, not the programs of the workspace.
    ./bin/xenstore | ./bin/ethtool) installed "$CONFIGS/root/$file" "/usr${file#.}" ;;
    ./bin/*) ;;
    *) installed "$CONFIGS/root/$file" "${file#.}" ;;
  esac
done <"$CONFIGS/files"
cp "$modules/modules.dep" "$CONFIGS/modules.dep"
cat "$CONFIGS/root$modules/modules.dep" >>"$modules/modules.dep"
# Nor does a Debian keep guests off any CPU.
cp /etc/xen/xl.conf "$CONFIGS/xl.conf"
sed -i '/^vm.cpumask/d' /etc/xen/xl.conf
undo() {
  cp "$CONFIGS/xl.conf" /etc/xen/xl.conf
  cp "$CONFIGS/modules.dep" "$modules/modules.dep"
  rm -f "${added[@]}"
  rm -rf /root/compare
  cleanup
}
trap undo EXIT
rm -rf "$CONFIGS/root"

mkdir -p /root/compare && cd /root/compare || fail "no folder"
tar xzf "$JOB/dist.tar.gz" || fail "the archive cannot be unpacked"
cd grantflow-* || fail "the archive has no folder of its own"
# bridges: all there are.
bridges() { ip -o link show type bridge | awk '{ print $2 }'; }
before=$(bridges)
leak_snapshot "$CONFIGS/before"

# compare ARGUMENTS...: with success, and nothing is left.
compare() {
  ./grantflow compare --quick --rounds 1 --out "$CONFIGS/report" "$@" >compare.log 2>&1 ||
    fail "the comparison ended with $?: $(tail -n 3 compare.log | paste -sd' ')"
  cat compare.log
  [ -z "$(xl list | awk '$1 ~ /^gf-compare-/')" ] || fail "domains are left: $(xl list | paste -sd' ')"
  [ "$(bridges)" = "$before" ] || fail "bridges: $(bridges | paste -sd' '), before: $(paste -sd' ' <<<"$before")"
}
compare --target xen --only image-size,create-to-first-record,vchan-vs-libxenvchan-64
leak_check "$CONFIGS/before"

# figure CONTESTANT MEASURE: there is a sample of it.
results=$CONFIGS/report/results.json
figure() {
  tr -d ' \n' <"$results" | grep -qE "\"contestant\":\"$1\",(\"setting\":\"[a-z,-]*\",)?\"measure\":\"$2\"[^}]*\"value\":[0-9]" ||
    fail "no $2 of $1 in results.json"
}
figure unikernel-vchan throughput
figure linux-libxenvchan throughput
for contestant in unikernel-vchan linux-vchan; do
  figure "$contestant" image-size
  figure "$contestant" create-to-first-record
done
tr -d ' \n' <"$results" | grep -q '"failures":\[\]' || fail "there are failures: $(grep -m 1 '"reason"' "$results")"

# One that is killed once both Linux guests are there. The last `xl create` goes on without it.
./grantflow compare --quick --rounds 1 --only vchan-vs-libxenvchan-64 --out "$CONFIGS/killed" >killed.log 2>&1 &
killed=$!
left() { xl domid gf-compare-linux-server && xl domid gf-compare-linux-client; }
until_true "$PATIENCE" left || fail "no Linux guests to leave: $(tail -n 3 killed.log | paste -sd' ')"
./grantflow compare --quick --only image-size --out "$CONFIGS/second" >second.log 2>&1 && fail "two comparisons at a time"
grep -q 'another comparison is at work' second.log || fail "the second one ended with: $(tail -n 1 second.log)"
kill -9 "$killed"
wait "$killed"
over() { ! pidof xl; }
until_true "$PATIENCE" over || fail "xl does not end: $(ps | grep 'xl create')"
left >/dev/null || fail "nothing was left: $(xl list | paste -sd' ')"
xl create -q "$(config other sensor 1 'out.first=0')" || fail "no domain that is somebody else's"
xl rename "${PREFIX}other" gf-compare-other || fail "xl rename failed"
./grantflow compare --quick --only image-size --out "$CONFIGS/next" >next.log 2>&1 || fail "the next one: $(tail -n 1 next.log)"
for what in gf-compare-linux-server gf-compare-linux-client 'the bridge gf-compare'; do
  grep 'removed what it left' next.log | grep -q "$what" || fail "$what is not told of: $(cat next.log)"
done
[ "$(xl list | awk '$1 ~ /^gf-compare-/ { print $1 }')" = gf-compare-other ] || fail "domains: $(xl list | paste -sd' ')"
xl destroy gf-compare-other
[ "$(bridges)" = "$before" ] || fail "the bridge is left"
leak_check "$CONFIGS/before"
