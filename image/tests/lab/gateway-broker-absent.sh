#!/bin/bash
# Nobody listens, no such host, no such name, no lease: four gateways wait without CPU, and deliver everything once there is a broker
# timeout: 300
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"
need bin/name-server

# There is a broker, but not where they look for it. Its subscriber has a session for later.
start_broker
subscribe 'g/#'
BROKER=$BROKER:1884 gateway deaf 'in.a=? stage=deaf topic=g/deaf'
IP=10.9.0.78/24 BROKER=10.9.0.99 gateway hostless 'in.b=? stage=hostless topic=g/hostless'
IP=10.9.0.79/24,dns=$BROKER BROKER=broker.test gateway nameless 'in.c=? stage=nameless topic=g/nameless'
IP=dhcp gateway leaseless 'in.d=? stage=leaseless topic=g/leaseless'
sensor source 'out.a=? out.b=? out.c=? out.d=? name.1=s count=100'
all=(deaf hostless nameless leaseless)
for index in 0 1 2 3; do
  edge=$(cut -c$((index + 1)) <<<abcd)
  connect source ${all[$index]} "$edge"
done
wait_powered_off source
for name in deaf hostless nameless; do wait_state $name 'waiting broker'; done
wait_state leaseless 'waiting dhcp'
wait_console deaf 'warning: broker 10\.9\.0\.1:1884 cannot be reached: .*; trying again in [0-9]+ ms'
wait_console hostless 'warning: broker 10\.9\.0\.99:1883 cannot be reached: no answer; trying again in [0-9]+ ms'
wait_console nameless 'warning: broker broker\.test:1883 cannot be reached: .*; trying again in [0-9]+ ms'
rests 10 "${all[@]}"
for name in deaf hostless nameless; do complains $name 'cannot be reached' 16; done
[ "$(warnings leaseless)" = 0 ] || fail "leaseless warned"
for name in "${all[@]}"; do balanced $name; done

ip addr add 10.9.0.99/24 dev $BRIDGE
stop_broker
start_broker "listener 1884 $BROKER" 'listener 1883 10.9.0.99'
"$JOB/bin/name-server" broker.test $BROKER &
printf '%s\n' "interface $BRIDGE" 'start 10.9.0.100' 'end 10.9.0.110' 'option subnet 255.255.255.0' 'max_leases 10' \
  "lease_file $CONFIGS/leases" "pidfile $CONFIGS/udhcpd.pid" >"$CONFIGS/udhcpd.conf"
touch "$CONFIGS/leases"
udhcpd -f "$CONFIGS/udhcpd.conf" &
for name in "${all[@]}"; do
  wait_powered_off $name
  [ "$(state $name)" = 'done' ] || fail "$name ended in state '$(state $name)'"
  balanced $name
  [ "$(counter $name stats/stage used)" = 100 ] || fail "$name: $(read_key $name data/grantflow/stats/stage)"
  wait_received 100 g/$name
done
received_exactly '' readings=400 missing=0 again=0 starts=4 mixed=0
no_crash
