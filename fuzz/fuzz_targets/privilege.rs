//! Any bytes as a host's answer to the question for privilege.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(shown) = toots::transport::fuzz_privilege(bytes) {
        assert!(!shown.chars().any(|c| c.is_control()), "{shown:?}");
    }
});
