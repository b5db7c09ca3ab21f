//! What this process is connected to, asked once.

use std::env;
use std::io::{self, IsTerminal};

use terminal_size::{Height, Width, terminal_size_of};

/// The size of a terminal on which text can be put anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl Window {
    /// The window that standard output is; `None` where it is none, or one that cannot be drawn on.
    /// Asked anew for each drawing, because windows change. One that does not tell its size counts as
    /// 80 by 24.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let drawable = io::stdout().is_terminal() && !is_dumb() && obeys_sequences();
        let size = terminal_size_of(io::stdout());
        let (Width(columns), Height(rows)) = size.unwrap_or((Width(80), Height(24)));
        drawable.then_some(Self { columns, rows })
    }
}

/// A dumb terminal prints control sequences as they are.
fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// Whether standard output shows what control sequences mean. A console of Windows has to be told to,
/// which one from before Windows 10 cannot be.
#[cfg(windows)]
fn obeys_sequences() -> bool {
    // Told are both, standard output first, and the answer is about both: it says nothing where standard
    // error is no console. Where `TERM` is set neither is one, but the terminal of MSYS or Cygwin.
    let told = anstyle_query::windows::enable_ansi_colors();
    told.unwrap_or(true) || !io::stderr().is_terminal() || env::var_os("TERM").is_some()
}

#[cfg(not(windows))]
fn obeys_sequences() -> bool {
    true
}

/// What this process is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Columns of the terminal that standard output is; `None` when it is none.
    pub stdout_width: Option<u16>,
    /// Whether standard error is a terminal on which progress can be drawn.
    pub stderr_is_terminal: bool,
    /// Whether `NO_COLOR` is set to anything but nothing (<https://no-color.org>), or the terminal is
    /// a dumb or an old one, which prints the codes of colours as they are.
    pub no_color: bool,
}

impl Terminal {
    /// Asks the system. A terminal that does not tell its width counts as 80 columns wide.
    #[must_use]
    pub fn detect() -> Self {
        let width = || terminal_size_of(io::stdout()).map_or(80, |(Width(columns), _)| columns);
        let dumb = is_dumb();
        Self {
            stdout_width: io::stdout().is_terminal().then(width),
            stderr_is_terminal: io::stderr().is_terminal() && !dumb,
            no_color: dumb
                || !obeys_sequences()
                || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
        }
    }
}
