//! Helpers of the tests inside the crate; compiled for tests only.
//!
//! Owns: the snapshots of messages in `tests/messages/`, one file per error type. To add a type:
//! a test beside it that calls [`snapshot_messages`] with a sample of every variant.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program, by a process of its own: a test beside this one may fork while this process has
/// the file open for writing, and a file that anybody writes cannot be executed. A shell would then go
/// on to the program of this name in the machine's own folders.
pub(crate) fn write_program(path: &Path, script: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success());
}

/// Snapshots the text, the causes and the hints of every variant of an error type.
///
/// `snapshot_messages!("file", ErrorType, hints: |error| Vec<String>, { pattern => sample, … })`.
/// The patterns make one `match` without a wildcard arm: a new variant does not compile until it
/// has a sample here.
macro_rules! snapshot_messages {
    ($file:literal, $error:ty, hints: $hints:expr, { $($pattern:pat => $sample:expr),+ $(,)? }) => {{
        fn variant(error: &$error) -> &'static str {
            match error {
                $($pattern => stringify!($pattern)),+
            }
        }
        let samples: Vec<(&str, $error)> = vec![$((stringify!($pattern), $sample)),+];
        for (pattern, sample) in &samples {
            assert_eq!(variant(sample), *pattern, "the sample is of another variant: {sample:?}");
        }
        $crate::testing::check_messages($file, &samples, $hints);
    }};
}
pub(crate) use snapshot_messages;

/// Compares the messages of the samples with `tests/messages/FILE.snap`.
pub(crate) fn check_messages<E: Error>(
    file: &str,
    samples: &[(&str, E)],
    hints: impl Fn(&E) -> Vec<String>,
) {
    let mut text = String::new();
    for (pattern, error) in samples {
        let name = pattern.split(['{', '(']).next().unwrap_or(pattern).trim();
        text.push_str(&format!("{name}\n  {error}\n"));
        let mut cause = error.source();
        while let Some(source) = cause {
            text.push_str(&format!("  cause: {source}\n"));
            cause = source.source();
        }
        for hint in hints(error) {
            text.push_str(&format!("  hint: {hint}\n"));
        }
    }
    insta::with_settings!({
        snapshot_path => "../tests/messages",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(file, text);
    });
}
