//! What became of the messages: the gateway's word against the subscriber's.

use std::fmt;

use serde::{Deserialize, Serialize};
use stage::counters::Counters;

use super::figures::own;
use super::messages::Counts;
use super::stages::Outlet;
use crate::progress::Thousands;

/// The gateway's drops, by its own keys.
const DROPS: [&str; 4] = ["queue", "large", "refused", "end"];

/// The way of the results through a broker. Times are in milliseconds from the gateway's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerReport {
    /// The broker, as the gateway reaches it.
    pub broker: String,
    /// What the messages were published below.
    pub topic: String,
    /// Where the subscriber ran.
    pub subscriber: String,
    /// Messages that the gateway made.
    pub accepted: u64,
    /// Messages that it sent again.
    pub resent: u64,
    /// Messages that the broker acknowledged.
    pub acknowledged: u64,
    /// Messages that the gateway dropped, whatever the cause.
    pub dropped: u64,
    /// Readings that the gateway used.
    pub used: u64,
    /// Messages that the subscriber got, each counted once.
    pub messages: u64,
    /// Copies of messages that it had got before.
    pub again: u64,
    /// Messages that it did not get although it got later ones.
    pub lost: u64,
    /// Readings in the messages that it got.
    pub readings: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// When the gateway had an address.
    pub address_ms: u64,
    /// When the broker let it in.
    pub connected_ms: u64,
    /// When the first message was acknowledged.
    pub delivered_ms: u64,
}

impl BrokerReport {
    /// What the gateway counted, beside what came back from the broker to dom0.
    pub fn new(outlet: &Outlet, gateway: &Counters, counts: Counts) -> Self {
        let own = |key| own(gateway, key);
        let report = Self {
            broker: outlet.broker.to_string(),
            topic: outlet.topic(),
            subscriber: String::new(),
            accepted: own("accepted"),
            resent: own("resent"),
            acknowledged: own("acknowledged"),
            dropped: DROPS.into_iter().map(own).sum(),
            used: gateway.stage.used,
            messages: 0,
            again: 0,
            lost: 0,
            readings: 0,
            bytes: 0,
            address_ms: own("address-ms"),
            connected_ms: own("connected-ms"),
            delivered_ms: own("delivered-ms"),
        };
        report.received("in dom0", counts)
    }

    /// The same with what another subscriber got.
    pub fn received(self, subscriber: &str, counts: Counts) -> Self {
        Self {
            subscriber: subscriber.to_owned(),
            messages: counts.messages,
            again: counts.again,
            lost: counts.lost,
            readings: counts.readings,
            bytes: counts.bytes,
            ..self
        }
    }

    /// Every balance that does not hold: what was accepted is acknowledged or dropped, what was acknowledged has arrived, and
    /// so have the readings that count as used.
    pub fn imbalances(&self) -> Vec<String> {
        let Self {
            accepted,
            acknowledged,
            dropped,
            messages,
            readings,
            used,
            ..
        } = self;
        let mut found = Vec::new();
        if *accepted != acknowledged + dropped {
            found.push(format!(
                "gateway: {accepted} messages accepted, but {acknowledged} acknowledged + {dropped} dropped"
            ));
        }
        if messages != acknowledged {
            found.push(format!(
                "broker: {acknowledged} messages acknowledged, but {messages} arrived"
            ));
        }
        if readings != used {
            found.push(format!(
                "broker: {used} readings used by the gateway, but {readings} arrived"
            ));
        }
        found
    }
}

impl fmt::Display for BrokerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address_ms,
            connected_ms,
            delivered_ms,
            ..
        } = self;
        writeln!(
            f,
            "gateway after its start: address {address_ms} ms, broker {connected_ms} ms, first message acknowledged \
             {delivered_ms} ms"
        )?;
        write!(
            f,
            "broker {}: {} messages acknowledged; a subscriber {} got {}, {} bytes, {} twice, {} never",
            self.broker,
            Thousands(self.acknowledged),
            self.subscriber,
            Thousands(self.messages),
            Thousands(self.bytes),
            self.again,
            self.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BrokerReport {
        let mut gateway = Counters {
            own: "accepted=9 published=9 resent=2 acknowledged=8 queue=1 large=0 refused=0 end=0 address-ms=30".into(),
            ..Counters::default()
        };
        gateway.stage.used = 56;
        let counts = Counts {
            messages: 8,
            again: 2,
            readings: 56,
            bytes: 4000,
            lost: 0,
        };
        BrokerReport::new(&Outlet::example(), &gateway, counts)
    }

    #[test]
    fn the_words_of_both_sides_add_up() {
        let report = report();
        assert_eq!(report.imbalances(), [""; 0]);
        let text = report.to_string();
        assert!(text.contains("address 30 ms"), "{text}");
        assert!(
            text.contains("10.0.2.2:1883: 8 messages acknowledged; a subscriber in dom0 got 8, 4,000 bytes, 2 twice"),
            "{text}"
        );
    }

    #[test]
    fn each_broken_balance_is_named() {
        let expect = |change: fn(&mut BrokerReport), line: &str| {
            let mut report = report();
            change(&mut report);
            assert_eq!(report.imbalances(), [line]);
        };
        expect(
            |report| report.dropped = 0,
            "gateway: 9 messages accepted, but 8 acknowledged + 0 dropped",
        );
        expect(
            |report| report.messages = 7,
            "broker: 8 messages acknowledged, but 7 arrived",
        );
        expect(
            |report| report.readings = 55,
            "broker: 56 readings used by the gateway, but 55 arrived",
        );
    }
}
