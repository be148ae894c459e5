//! The `toots` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    toots::cli::main().into()
}
