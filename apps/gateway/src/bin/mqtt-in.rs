//! The stage `mqtt-in`: readings from an MQTT 5 broker to vchan edges.
#![cfg_attr(xen_guest, no_std, no_main)]

use gateway::{Downlink, MqttIn};

#[cfg(xen_guest)]
unikernel::image!(MqttIn, beside = Downlink::new);
#[cfg(not(xen_guest))]
process::main!(MqttIn, beside = Downlink::new);
