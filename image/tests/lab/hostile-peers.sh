#!/bin/bash
# R1 R3 R5 R6 R19 R20 R21 R27 R28 R29: C peers that break the protocol, against one stage in each role: each is told, counted and survived, and nothing is left
# timeout: 300
. "$JOB/lab/lib.sh"
need bin/vchan-hostile
hostile=$JOB/bin/vchan-hostile

leak_snapshot "$CONFIGS/before"
probe client 4 "do=victim out.e=?"
probe server 4 "do=victim in.e=?,ring=4K"
client=$(domid client) server=$(domid server)
base=/local/domain/0/data/vchan/$client/e
generation=0

# outcome NAME REGEX: the newest peer of a stage, from what it was named to what the stage says of it.
named() { peer "$1" e 0 $((++generation)); }
outcome() {
  local said end=$(($(now) + 20 * 1000))
  until said=$(read_key "$1" "data/probe/victim/$generation"); do
    [ "$(now)" -lt $end ] || fail "$1 has not said how it fared with peer $generation, which was to be /$2/"
    sleep 0.05
  done
  [[ $said =~ $2 ]] || fail "$1 said of peer $generation '$said', not /$2/"
}
# offered FILE: that server's offer is as it should not be, and it says so.
offered() { until grep -qs ready "$1"; do sleep 0.02; done; }
# forged REGEX STEP...: a server. It is named once its offer is as it should not be.
forged() {
  local expected=$1
  shift
  rm -f "$CONFIGS/hostile"
  "$hostile" server "$client" "data/vchan/$client/e" 4096 4096 "$@" hold 100 >"$CONFIGS/hostile" &
  offered "$CONFIGS/hostile"
  named client
  outcome client "$expected"
  kill $!
  wait $! 2>/dev/null
}
# attacked STAGE REGEX STEP...: a peer that turns bad once it is connected, and is left by the stage then.
attacked() {
  local stage=$1 expected=$2
  shift 2
  rm -f "$CONFIGS/hostile"
  if [ "$stage" = client ]; then
    "$hostile" server "$client" "data/vchan/$client/e" 4096 4096 met "$@" >"$CONFIGS/hostile" &
    offered "$CONFIGS/hostile"
  else
    "$hostile" client "$server" "/local/domain/$server/data/vchan/0/e" "$@" >"$CONFIGS/hostile" &
  fi
  named "$stage"
  outcome "$stage" "$expected"
  wait $! || fail "the peer failed against $stage"
}

# One that keeps to the rules first: what is free then must be free at the end.
attacked client '^closed; read 3000.* violations 0;' mute 3000 event 1
attacked server '^closed; read 3000.* violations 0;' mute 3000 event 1
free() { read_key "$1" "data/probe/victim/$2" | sed 's/.*free //'; }
free_client=$(free client 1) free_server=$(free server 2)

# R5: orders. R6: the list of grants. R19: live bytes. R1: indexes. All before the client has come.
illegal="the server's offer is illegal"
forged "^$illegal: ring order 9 .*violations 1;" poke 16 2 9
forged "^$illegal: ring order 21 .*violations 1;" poke 18 2 21
forged "^$illegal: orders 10 and 20: .*violations 1;" poke 16 2 10 poke 18 2 20
forged "^$illegal: orders 20 and 10: .*violations 1;" poke 16 2 20 poke 18 2 10
forged "^$illegal: both rings have order 11 .*violations 1;" poke 16 2 11 poke 18 2 11
forged "^$illegal: its list of grants holds 0 .*violations 1;" poke 24 4 0
forged "^$illegal: its list of grants holds [0-9]+ more than once.*violations 1;" copy 28 24
forged '^the server has closed this channel \(srv_live is 7\).*violations 1;' poke 21 1 7
forged '^this channel was used .*\(cli_live is 7\).*violations 1;' poke 20 1 7
forged "^$illegal: .*violations 1;" poke 12 4 0x40000000

# R20: a reference that was never granted, and one that was granted to somebody else.
forged "^the server's ring could not be mapped: .*\(GNTST -[0-9]+\).*violations 0;" poke 24 4 0x7fff0000
"$hostile" server "$server" "data/vchan/$server/other" 4096 4096 hold 100 >"$CONFIGS/other" &
other=$!
offered "$CONFIGS/other"
forged "^the server's ring could not be mapped: .*\(GNTST -[0-9]+\).*violations 0;" \
  poke 24 4 "$(xenstore-read "/local/domain/0/data/vchan/$server/other/ring-ref")"
kill $other
wait $other 2>/dev/null
xenstore-rm "/local/domain/0/data/vchan/$server/other"

# R29: an offer whose server is gone, of which libxenvchan leaves the keys.
attacked client '^the peer (died|has closed)|^closed' die
named client
outcome client "^the server's port could not be bound, the offer may be an old one: .*violations 0;"

# R28: keys that are no numbers.
keys() {
  xenstore-write -- "$base/ring-ref" "$1" "$base/event-channel" "$2"
  xenstore-chmod "$base/ring-ref" n0 "r$client"
  xenstore-chmod "$base/event-channel" n0 "r$client"
}
wrong='.*; remove it and restart the server.*violations 1;'
for bad in 12abc 4294967296 "$(printf '1%.0s' {1..1000})"; do
  keys "$bad" 1
  named client
  outcome client "^the key ring-ref $wrong"
done
for bad in -1 0 １; do
  keys 1 "$bad"
  named client
  outcome client "^the key event-channel $wrong"
done
# R29: and some that are not for this client, which waits for them.
xenstore-chmod "$base/ring-ref" n0
named client
sleep 1
[ -z "$(read_key client "data/probe/victim/$generation")" ] || fail "the client read a key that was not for it"
xenstore-chmod "$base/ring-ref" n0 "r$client"
outcome client '^the key event-channel '
xenstore-rm "$base"

# R1, R19, R3: once it is connected, in both roles.
broke='^the peer broke the protocol:'
one='violations 1; kept'
attacked client "$broke right.prod cannot be 2147483648;.*$one" poke 12 4 0x80000000 event 1 stay
attacked client "$broke left.cons cannot be 5000;.*$one" poke 0 4 5000 event 1 stay
attacked client "$broke srv_live cannot be 7;.*$one" poke 21 1 7 event 1 stay
attacked client "$broke right.cons cannot be 77;.*$one" poke 8 4 77 stay
attacked server "$broke left.prod cannot be 2147483648;.*$one" poke 4 4 0x80000000 event 1 stay
attacked server "$broke right.cons cannot be 5000;.*$one" poke 8 4 5000 event 1 stay
attacked server "$broke cli_live cannot be 7;.*$one" poke 20 1 7 event 1 stay
attacked server "$broke left.cons cannot be 77;.*$one" poke 0 4 77 stay
# What only the server says, once, has no effect later; and request bytes are hints.
attacked client '^closed; read 3000.* violations 0;' poke 16 2 9 poke 18 2 65535 poke 24 4 0 poke 22 2 65535 mute 3000 event 1
attacked server '^closed; read 3000.* violations 0;' poke 16 2 9 poke 18 2 65535 poke 24 4 0 poke 22 2 65535 mute 3000 event 1

# R21: a client that says goodbye and keeps the pages mapped. They are nobody else's until it lets go.
attacked server '^closed; .* violations 0; kept 3 pages, then 0,' poke 20 1 0 event 1 hold 2
wait_console server 'domain 0 still maps 1 pages that were given up'
if [ -n "${SOAK:-}" ]; then
  attacked server '^closed; .* kept 3 pages, then 3,' poke 20 1 0 event 1 hold 30
fi
attacked server '^closed; read 10.* violations 0; kept [0-3] pages, then 0,' mute 10 event 1
last=$(free server "$generation")
[ "$last" = "$free_server" ] || fail "the server had $free_server pages free after its first peer, and $last after its last"
attacked client '^closed; read 10.* kept 0 pages,' mute 10 event 1
last=$(free client "$generation")
[ "$last" = "$free_client" ] || fail "the client had $free_client pages free after its first peer, and $last after its last"

# R21, of a program in dom0: what it has given up and its client still maps, the kernel keeps until then.
before=$(grants_in_use)
path=/local/domain/0/data/vchan/0/kept
"$JOB/bin/vcat" listen --wait 20 "xen:0:$path" recv:/dev/null &
program=$!
"$hostile" client 0 "$path" poke 20 1 0 event 1 hold 2 >/dev/null &
wait $program || fail "vcat took a client's goodbye for something else"
[ "$(grants_in_use)" -gt "$before" ] || fail "nothing is mapped while the client holds what vcat gave up"
wait $! || fail "the client failed"

no_crash
xl destroy "$client"
xl destroy "$server"
leak_check "$CONFIGS/before"
