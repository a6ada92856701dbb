//! The rooms of the network against a back end in ordinary memory.

extern crate std;

mod lan;
mod rings;
mod streams;
