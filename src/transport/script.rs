//! The command lines with which `sh` and `perl` run a script of another room.
//!
//! Owns: how a script, its arguments and its variables become the text of a command. Must not know
//! what a script does. Scripts are constant; what differs between two hosts is an argument, a variable
//! or input, and quoted here.

use crate::spec::quote;

/// Runs the script that is the command's standard input.
#[must_use]
pub fn script_on_input(arguments: &[&str]) -> String {
    if arguments.is_empty() {
        return "sh -s".to_owned();
    }
    format!("sh -s -- {}", words(arguments))
}

/// Runs a script whose standard input is free. Everyone on the host can read the script and the
/// arguments.
#[must_use]
pub fn script_in_line(script: &str, arguments: &[&str]) -> String {
    let script = quote(script);
    if arguments.is_empty() {
        return format!("sh -c {script}");
    }
    format!("sh -c {script} toots {}", words(arguments))
}

/// The same for a script of Perl.
#[must_use]
pub fn perl_in_line(script: &str, arguments: &[&str]) -> String {
    format!("perl -e {} {}", quote(script), words(arguments))
}

/// Assignments before the first line of a script that is sent on standard input. No one else on the
/// host sees the values.
#[must_use]
pub fn assign_variables(variables: &[(&str, &str)]) -> String {
    let lines = variables
        .iter()
        .map(|(name, value)| format!("{name}={}\n", quote(value)));
    lines.collect()
}

/// Several values as one, each a word of the shell.
#[must_use]
pub fn words(values: &[&str]) -> String {
    let words: Vec<String> = values.iter().map(|value| quote(value)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::transport::shell::Launch;

    const VALUES: [&str; 4] = ["it's", "", "a\nb $HOME `id`", "\\n!x"];
    const SHOW: &str = "printf '<%s>' \"$@\"";

    /// Runs a command line as transport does on a host.
    fn run(line: &str, input: &str) -> String {
        let mut child = Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command may end without reading it.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn values_arrive_unchanged() {
        let shown: String = VALUES.map(|value| format!("<{value}>")).concat();
        assert_eq!(run(&script_on_input(&VALUES), SHOW), shown);
        assert_eq!(run(&script_in_line(SHOW, &VALUES), ""), shown);
        let script = assign_variables(&[("list", &words(&VALUES)), ("text", VALUES[2])]);
        let script = format!("{script}eval \"set -- $list\"\n{SHOW}\nprintf '<%s>' \"$text\"");
        let shown = format!("{shown}<{}>", VALUES[2]);
        assert_eq!(run(&script_on_input(&[]), &script), shown);
    }

    #[test]
    fn a_script_in_the_line_leaves_the_input_free() {
        assert_eq!(run(&script_in_line("cat", &[]), "input"), "input");
    }

    /// A script with what login shells read in their own ways, behind the line that they get.
    #[test]
    fn scripts_mean_the_same_in_every_login_shell() {
        let script = format!(
            "# It's a comment \\n with $x `id`, !x and\n# a second line\nset -eu\n{SHOW}\ncat"
        );
        let shown: String = VALUES.map(|value| format!("<{value}>")).concat();
        for shell in [
            &["dash"][..],
            &["bash"],
            &["fish"],
            &["tcsh"],
            &["busybox", "sh"],
        ] {
            let launch = Launch::new(&script_in_line(&script, &VALUES));
            let child = Command::new(shell[0])
                .args(&shell[1..])
                .args(["-c", &launch.line])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut child) = child else {
                println!("skipped: {} is not installed", shell[0]);
                continue;
            };
            let input = format!("{}input\n", launch.preface);
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.as_bytes()).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap().stdout;
            let output = String::from_utf8(output).unwrap();
            let (_, printed) = output.split_once('\n').unwrap();
            assert_eq!(printed, format!("{shown}input\n"), "{}", shell[0]);
        }
    }

    #[test]
    fn perl_gets_its_arguments() {
        let line = perl_in_line("print map { \"<$_>\" } @ARGV", &VALUES);
        if Command::new("perl").arg("-v").output().is_err() {
            println!("skipped: perl is not installed");
            return;
        }
        assert_eq!(run(&line, ""), VALUES.map(|v| format!("<{v}>")).concat());
    }
}
