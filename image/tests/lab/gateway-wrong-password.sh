#!/bin/bash
# A wrong password: the refusal is named, nothing of the secret is shown, attempts are few and cost nothing; then it is accepted
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

password flow other
start_broker 'allow_anonymous false' "password_file $BROKER_FOLDER/passwords"
echo 'flow:Sesame-open' >"$CONFIGS/secret"
tar -C "$CONFIGS" -cf "$CONFIGS/module.tar" secret
gateway out 'in.e=?' "$CONFIGS/module.tar"
sensor source 'out.e=? name.1=s count=30'
connect source out e
wait_console out 'warning: broker 10\.9\.0\.1:1883 refuses the connection: not authorized \(0x87\); trying again in [0-9]+ ms'
wait_state out 'waiting broker'
rests 10 out
# A quarter of a second at the least before the second, and twice as long before each of the others.
attempts=$(broker_said 'New connection from 10\.9\.0\.77')
[ "$attempts" -ge 3 ] && [ "$attempts" -le 8 ] || fail "$attempts attempts"
complains out 'refuses the connection: not authorized' "$attempts"
password flow Sesame-open
wait_powered_off out
balanced out
[ "$(own out acknowledged)" = "$(own out accepted)" ] && [ "$(own out connections)" = 1 ] ||
  fail "$(read_key out data/grantflow/stats/own)"
[ "$(counter out stats/stage used)" = 30 ] || fail "$(read_key out data/grantflow/stats/stage)"
for word in Sesame flow:; do
  ! grep -aq "$word" "$(console out)" || fail "the console shows the secret"
  ! xenstore-ls "/local/domain/$(domid out)" | grep -q "$word" || fail "xenstore shows the secret"
done
no_crash
