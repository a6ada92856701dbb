//! The codec and the connection by themselves, and the client on the fake store.

mod client;
mod connection;
mod connection_model;
mod transactions;
mod wire;
