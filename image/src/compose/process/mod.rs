//! A pipeline as processes of this host: the same functions over the same vchan, without Xen.
//!
//! `grantflow up --target process` stays with them: it is their parent, their console and their supervisor, and when it ends,
//! however that is, they end with it.
//!
//! * [`programs`] builds the stages' programs, or finds them, and reads what they take;
//! * [`nest`] is the pipeline's folder: keys, meetings, and the record that other commands find;
//! * [`child`] is one process, [`kept`] what it has printed, [`proc`](mod@proc) what the kernel knows of it;
//! * [`edges`] says what has gone over them;
//! * [`up`] runs them, [`down`] ends them from elsewhere, and [`look`] tells how they are.

pub mod child;
pub mod down;
pub mod edges;
pub mod kept;
pub mod look;
pub mod nest;
pub mod proc;
pub mod programs;
pub mod up;
