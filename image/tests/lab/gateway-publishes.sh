#!/bin/bash
# Two edges at two gateways, one with JSON and one with CBOR: every reading is at the broker, once, where `topic=` says
# timeout: 240
. "$JOB/lab/lib.sh"
. "$JOB/lab/lib-broker.sh"

start_broker
subscribe 'j/#'
subscribe 'c/#' %x
gateway json 'in.fj=? in.wj=? stage=json topic=j/{name} will=state/json'
IP=10.9.0.78/24 gateway cbor 'in.fc=? in.wc=? stage=cbor topic=c/{series} format=cbor'
sensor flow 'out.fj=? out.fc=? name.1=flow:raw count=60 rate=50'
sensor wind 'out.wj=? out.wc=? name.1=wind count=40 rate=50'
connect flow json fj
connect flow cbor fc
# The other edge has no peer yet.
for stage in json cbor; do wait_console $stage "broker $BROKER:1883: connected"; done
[ "$(retained state/json)" = running ] || fail "the will's topic does not say that json runs"
wait_state json 'waiting wj'
connect wind json wj
connect wind cbor wc
for stage in json cbor; do
  wait_powered_off $stage
  [ "$(state $stage)" = done ] || fail "$stage ended in state '$(state $stage)'"
  balanced $stage
  for pair in resent=0 connections=1 "published=$(own $stage accepted)" "acknowledged=$(own $stage accepted)"; do
    [ "$(own $stage "${pair%=*}")" = "${pair#*=}" ] || fail "$stage: $(read_key $stage data/grantflow/stats/own), not $pair"
  done
  [ "$(counter $stage stats/stage used)" = 100 ] || fail "$stage used $(counter $stage stats/stage used) of 100 readings"
  [ "$(warnings $stage)" = 0 ] || fail "$stage warned"
done
[ "$(retained state/json)" = 'done' ] || fail "the will's topic does not say that json is done"
[ "$(retained grantflow-state/grantflow-cbor)" = 'done' ] || fail "nor that of cbor"
wait_received 60 j/flow:raw
wait_received 40 j/wind
wait_received 60 c/flow
wait_received 40 c/wind
received_exactly '' "messages=$(($(own json accepted) + $(own cbor accepted)))" readings=200 again=0 missing=0 starts=2 mixed=0
grep -q $'^message\tj/wind\tid:[^\t]*\t\[{"bn":"wind",' "$RECEIVED" || fail "no pack of the series wind in JSON"
no_crash
