//! Programs of which toots asks little: they read their configuration, listen, and answer that they run.
//! To add one: its file, and a row in `services::programs`.

mod plain;
mod registry;

pub use plain::{Dnsmasq, Echo, Openvpn, Supervisord};
pub use registry::Registry;
