//! The `toots` binary: everything is in the library.

fn main() {}
