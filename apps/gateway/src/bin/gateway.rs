//! The stage `gateway`: readings from vchan edges to an MQTT 5 broker.
#![cfg_attr(xen_guest, no_std, no_main)]

use gateway::{Gateway, Uplink};

#[cfg(xen_guest)]
unikernel::image!(Gateway, beside = Uplink::new);
#[cfg(not(xen_guest))]
process::main!(Gateway, beside = Uplink::new);
