//! The whole of `--help` as one text, so that the wording is reviewed together and no new command
//! is missed.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use toots::cli::args::Cli;

/// Columns of the snapshot.
const WIDTH: usize = 100;

fn write_help(command: &mut clap::Command, path: &str, out: &mut String) {
    let help = command
        .clone()
        .term_width(WIDTH)
        .bin_name(path)
        .render_long_help()
        .to_string();
    let _ = writeln!(out, "##### {path}\n{}\n", help.trim_end());
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    for name in names.iter().filter(|name| *name != "help") {
        if let Some(command) = command.find_subcommand_mut(name) {
            write_help(command, &format!("{path} {name}"), out);
        }
    }
}

#[test]
fn help_pages() {
    let mut out = String::new();
    write_help(&mut Cli::command(), "toots", &mut out);
    let trimmed: Vec<&str> = out.lines().map(str::trim_end).collect();
    insta::assert_snapshot!("pages", trimmed.join("\n"));
}
