//! The image `gateway`: readings from vchan edges to an MQTT 5 broker, over the domain's network interface.
#![cfg_attr(xen_guest, no_std, no_main)]

use gateway::{Gateway, Net, Uplink};
use unikernel::net::{ConnectError, Network, TcpOptions, TcpStream};

unikernel::image!(Gateway, beside = |network| Uplink::new(Xen(network)));

struct Xen(Network);

impl Net for Xen {
    type Stream = TcpStream;
    type Error = ConnectError;

    async fn configured(&self, host: &str) {
        // A name is asked for over IPv4.
        let ipv6 = host.parse::<core::net::Ipv6Addr>().is_ok();
        self.0.configured(ipv6).await;
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        self.0.connect_to(host, port, &TcpOptions::default()).await
    }

    fn random(&self) -> u64 {
        u64::from_ne_bytes(unikernel::entropy::bytes())
    }
}
