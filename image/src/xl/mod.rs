//! Domains: configurations in the format of xl.cfg(5), the calls of `xl`, and xenstore through its own tools.
//!
//! * [`config`] turns a domain's description into the text `xl create` reads.
//! * [`boot`] decides whether the parameters of an image travel on the command line or in its module.
//! * [`toolstack`] calls `xl` and reads `xl list`; [`guard`] destroys what was created, whatever happens.
//! * [`hypervisor`] asks Xen itself, where it answers: that takes a thousandth of starting `xl`.
//! * [`uuid`] is a domain's identity.
//! * [`console`] reads what xenconsoled has logged of a guest.
//! * [`crash`] says where a domain was that Xen had to end itself.
//! * [`store`] reads and writes xenstore; [`told`] is what a stage tells of itself there.
//! * [`tools`] is the rim: dom0 is reached behind one small trait, so that all else is tested without Xen.

pub mod boot;
pub mod config;
pub mod console;
pub mod crash;
#[cfg(test)]
pub(crate) mod fake;
pub mod guard;
pub mod hypervisor;
pub mod store;
pub mod told;
pub mod tools;
pub mod toolstack;
pub mod uuid;

pub use boot::{Boot, BootInput, BootInputError};
pub use config::{Action, ConfigError, XlConfig};
pub use crash::Crash;
pub use guard::{DomainGuard, GuardError};
pub use hypervisor::Hypervisor;
pub use store::{Direct, StoreError, XenStore};
pub use told::{Told, ToldError};
pub use tools::{SystemTools, ToolError, Tools};
pub use toolstack::{DomId, Domain, HostInfo, Look, ShutdownReason, ToldBy, Xl, XlError};
pub use uuid::Uuid;
