//! The addresses of the interface: given, leased, or made of what routers tell.

use alloc::vec::Vec;

use smoltcp::iface::Interface;
use smoltcp::socket::{dhcpv4, dns};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address, Ipv4Cidr};

use super::{Inner, Link};
use crate::net::announce::announcement;
use crate::net::config::{IpConfig, is_host, is_host_in};

impl Inner {
    /// Sets up a fresh interface in the place of `previous`.
    pub(super) fn configure(&mut self, previous: Option<&Interface>) {
        match self.config {
            IpConfig::Static {
                address,
                prefix_len,
                gateway,
                dns,
            } => {
                let dns: Vec<IpAddress> = dns.map(IpAddress::from).into_iter().collect();
                self.set_ipv4(Some(Ipv4Cidr::new(address, prefix_len)), gateway, &dns);
            }
            IpConfig::Dhcp { .. } => self.resume_lease(previous),
        }
    }

    /// Asks for a lease, and goes on with the last one until the answer comes, so that connections live through a device that
    /// went and came back.
    fn resume_lease(&mut self, previous: Option<&Interface>) {
        let (Some(handle), Some(interface)) = (self.dhcp, &mut self.interface) else {
            return;
        };
        let socket = self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle);
        socket.reset();
        // That the old lease is gone is no news.
        let _ = socket.poll();
        let Some(previous) = previous else {
            return;
        };
        let ipv4 = |cidr: &&IpCidr| matches!(cidr, IpCidr::Ipv4(_));
        if let Some(last) = previous.ip_addrs().iter().find(ipv4) {
            interface.update_ip_addrs(|addresses| {
                let _ = addresses.insert(0, *last);
            });
        }
        if let Some(route) = previous.routes().get_default_ipv4_route()
            && let IpAddress::Ipv4(gateway) = route.via_router
        {
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
        self.announce();
    }

    /// Tells the link who has our IPv4 address, if we have one.
    fn announce(&mut self) {
        let (Some(interface), Link::Up(device)) = (&self.interface, &mut self.link) else {
            return;
        };
        if let (HardwareAddress::Ethernet(mac), Some(address)) =
            (interface.hardware_addr(), interface.ipv4_addr())
        {
            device.send(&announcement(mac, address));
        }
    }

    fn set_ipv4(
        &mut self,
        address: Option<Ipv4Cidr>,
        gateway: Option<Ipv4Address>,
        servers: &[IpAddress],
    ) {
        let Some(interface) = &mut self.interface else {
            return;
        };
        interface.update_ip_addrs(|addresses| {
            addresses.retain(|cidr| matches!(cidr, IpCidr::Ipv6(_)));
            if let Some(address) = address {
                // The first one is what smoltcp takes for its own.
                let _ = addresses.insert(0, address.into());
            }
        });
        interface.routes_mut().remove_default_ipv4_route();
        if let Some(gateway) = gateway {
            let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        }
        self.sockets
            .get_mut::<dns::Socket<'_>>(self.dns)
            .update_servers(servers);
        self.announce();
    }

    /// Asks routers, and takes over what they tell; whether there was news.
    pub(super) fn look_at_routers(&mut self, now: Instant) -> bool {
        let (Some(slaac), Link::Up(device)) = (&mut self.slaac, &mut self.link) else {
            return false;
        };
        let mut changed = slaac.expire(now);
        for frame in device.take_advertisements() {
            changed |= slaac.receive(&frame, now);
        }
        if slaac.is_solicitation_due(now) {
            device.send(&slaac.solicitation(now));
        }
        if let (true, Some(interface)) = (changed, &mut self.interface) {
            let global = |cidr: &IpCidr| match cidr.address() {
                IpAddress::Ipv6(address) => !address.is_unicast_link_local(),
                IpAddress::Ipv4(_) => false,
            };
            interface.update_ip_addrs(|addresses| {
                addresses.retain(|cidr| !global(cidr));
                for address in slaac.addresses() {
                    let _ = addresses.push(address.into());
                }
            });
            interface.routes_mut().remove_default_ipv6_route();
            if let Some(router) = slaac.router() {
                let _ = interface.routes_mut().add_default_ipv6_route(router);
            }
        }
        changed
    }

    /// Takes over a new lease, or the loss of one; whether there was such news.
    pub(super) fn look_at_lease(&mut self) -> bool {
        let (Some(handle), IpConfig::Dhcp { dns: own }) = (self.dhcp, self.config) else {
            return false;
        };
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll();
        let lease = match event {
            None => return false,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => {
                Some((config.address, config.router, config.dns_servers))
            }
        };
        match lease {
            Some((address, router, servers))
                if is_host_in(address.address(), address.prefix_len()) =>
            {
                log::info!("leased {address}");
                let mut servers: Vec<IpAddress> = servers.iter().map(|it| (*it).into()).collect();
                if let Some(own) = own {
                    servers = alloc::vec![own.into()];
                }
                let router = router.filter(|router| is_host(*router));
                self.set_ipv4(Some(address), router, &servers);
            }
            Some((address, ..)) => {
                log::warn!("the DHCP server offers {address}, which no host can have");
                self.set_ipv4(None, None, &[]);
                // Asks anew, instead of when the lease ends. That this one is gone is no news.
                let socket = self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle);
                socket.reset();
                let _ = socket.poll();
            }
            None => self.set_ipv4(None, None, &[]),
        }
        true
    }
}
