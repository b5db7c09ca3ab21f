//! What is made from the definition of the command line: completions of shells, and manual pages.
//! Hidden subcommands are in neither.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::args::Cli;

/// The completions for a shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown(), "tunnelcheck", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The manual page of the program itself.
///
/// # Errors
/// None in practice: memory takes what is written.
pub fn manual() -> io::Result<String> {
    let mut command = shown();
    command.build();
    page(command)
}

/// Writes the page of the program and those of its subcommands into a folder that is there:
/// `tunnelcheck.1`, `tunnelcheck-show.1`, …
///
/// # Errors
/// What the system says about the first file that cannot be written.
pub fn write_manual(folder: &Path) -> io::Result<()> {
    let mut command = shown();
    command.build();
    for subcommand in command.get_subcommands().cloned() {
        let name = format!("tunnelcheck-{}.1", subcommand.get_name());
        fs::write(folder.join(name), page(subcommand)?)?;
    }
    fs::write(folder.join("tunnelcheck.1"), page(command)?)
}

/// The command line as its users know it. clap has no way to take a subcommand out, so this one is
/// put together without them; `help` of a subcommand is `--help`.
fn shown() -> Command {
    let whole = Cli::command();
    let visible = whole.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new("tunnelcheck")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .long_about(whole.get_long_about().cloned().unwrap_or_default())
        .after_help(whole.get_after_help().cloned().unwrap_or_default())
        .subcommand_value_name("COMMAND")
        .disable_help_subcommand(true)
        .args(whole.get_arguments())
        .subcommands(visible)
}

/// `clap_mangen` would fill the examples and the exit codes like prose; hence sections by hand.
fn page(command: Command) -> io::Result<String> {
    let after_help = command.get_after_help().map(ToString::to_string);
    let has_options = command.get_arguments().next().is_some();
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command)
        // An empty date would be left out, and what follows would move up.
        .date(" ")
        .source(concat!("tunnelcheck ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    if has_options {
        man.render_options_section(&mut text)?;
    }
    sections(&after_help.unwrap_or_default()).to_writer(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The text behind the help: `Heading:` begins a section, indented lines stay as they are, and the
/// rest is prose.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut kept = false;
    for line in text.lines() {
        let keep = line.starts_with(' ');
        if keep != kept {
            roff.control(if keep { "nf" } else { "fi" }, []);
            kept = keep;
        }
        match line.strip_suffix(':') {
            Some(heading) if !keep => roff.control("SH", [heading.to_uppercase().as_str()]),
            _ if line.is_empty() => roff.control("PP", []),
            _ => roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]),
        };
    }
    if kept {
        roff.control("fi", []);
    }
    roff
}
