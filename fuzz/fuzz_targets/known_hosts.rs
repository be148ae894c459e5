//! Any bytes as a file of known keys, asked about names in several forms.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["h1", "[h1]:2222", "web.example.com"] {
        toots::transport::fuzz_known_hosts(bytes, name);
    }
});
