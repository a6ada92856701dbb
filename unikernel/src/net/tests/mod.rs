//! The rooms of the network against a back end in ordinary memory.

extern crate std;

mod hostile;
mod lan;
mod lifecycle;
mod offload;
mod rings;
mod streams;
