//! A sensing function as a program on Linux: the same function that an image is made of, over the same vchan, or over TCP.
//!
//! * [`run`] is the program from its start to its end, [`main!`] makes one of a [`Stage`](stage::Stage);
//! * [`arguments`] and [`help`]: its command line;
//! * [`host`]: what the runner asks of the machine; [`channel`]: an open edge;
//! * [`place`]: where edges meet, in a folder of this host or over Xen's devices; [`ring`]: one of them, over vchan;
//! * [`tcp`]: the same over TCP; [`peer`]: who is at their other end;
//! * [`keys`]: where a stage tells about itself, and is told of its peers;
//! * [`net`]: TCP; [`console`]: standard output and the log; [`orders`]: signals.

pub mod arguments;
pub mod channel;
pub mod console;
pub mod help;
pub mod host;
pub mod keys;
pub mod net;
pub mod orders;
pub mod peer;
pub mod place;
pub mod ring;
pub mod run;
pub mod tcp;

pub use net::Network;
#[doc(hidden)]
pub use stage;

/// Makes a program of a [`Stage`](stage::Stage), and the ELF note that lists the stage's parameters and edges.
///
/// One source makes an image and a program:
///
/// ```
/// # use sensor as my_crate;
/// # mod sensor {}
/// // #![cfg_attr(xen_guest, no_std, no_main)]
/// //
/// // #[cfg(xen_guest)]
/// // unikernel::image!(my_crate::Scale);
/// // #[cfg(not(xen_guest))]
/// // process::main!(my_crate::Scale);
/// ```
///
/// A stage whose results leave over the network names what carries them, a function from [`Network`] to its
/// [`Companion`](stage::runner::Companion): `process::main!(gateway::Gateway, beside = gateway::Uplink::new);`
#[macro_export]
macro_rules! main {
    ($stage:ty) => {
        $crate::main!($stage, $crate::run::run::<$stage>);
    };
    ($stage:ty, beside = $companion:expr) => {
        $crate::main!($stage, || $crate::run::run_beside::<$stage, _>($companion));
    };
    ($stage:ty, $main:expr) => {
        const _: () = {
            #[allow(unsafe_code, reason = "a section that tools read")]
            #[used]
            #[unsafe(link_section = ".note.Grantflow")]
            static NOTE: $crate::stage::note::Note<{ $crate::stage::note::length::<$stage>() }> =
                $crate::stage::note::encode::<$stage, _>();
        };

        fn main() -> std::process::ExitCode {
            $main()
        }
    };
}
