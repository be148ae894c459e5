//! Any text as ssh_config. No command is run and no other file is read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = toots::transport::fuzz_ssh_config(text, "web.example.com");
});
