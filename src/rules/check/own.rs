//! Files that `tunnelcheck rules` printed: they are printed again with the same options, and compared.
//!
//! | a line that acts | is |
//! | --- | --- |
//! | only what is printed now has it, and it is for something required | lacking |
//! | only the file has it, and it is like a line that is printed but for its addresses | superfluous |
//! | only the file has it, and nothing like it is printed, or it is in another place | strange |
//!
//! Comments do not act, so the date, advice and remarks do not count.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use crate::report::escape;
use crate::rules::Cidr;

/// How far down the header may say how the file was made.
const HEADER: usize = 40;

/// How long the exact comparison may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A file that this program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The file.
    pub text: String,
    /// The options of `rules` that it was printed with.
    pub options: Vec<String>,
    /// The version that printed it.
    pub version: String,
}

impl Printed {
    /// The file, if its header says that this program printed it, and how.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let plain = |line: &str| line.trim_start_matches(['#', ' ']).trim_end().to_owned();
        let mut lines = text.lines().take(HEADER).map(plain);
        let made =
            lines.find(|line| line.starts_with("Made ") && line.contains(" by tunnelcheck "))?;
        let (_, version) = made.split_once(" by tunnelcheck ")?;
        let command = lines.next()?;
        let options = command.strip_prefix("tunnelcheck rules ")?;
        Some(Self {
            text: text.to_owned(),
            options: options.split_whitespace().map(str::to_owned).collect(),
            version: version.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

/// What is different between a file and what is printed now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Lines that the file lacks.
    pub lacking: Vec<String>,
    /// Lines that only the file has, with their numbers.
    pub extra: Vec<(usize, String)>,
    /// Whether one that it lacks is for something required.
    pub lacks_required: bool,
    /// Whether one that only the file has is of another kind than those that are printed.
    pub has_strange: bool,
}

impl Difference {
    /// Compares a file with what is printed now; `required` is printed for what is required only.
    #[must_use]
    pub fn between(file: &str, now: &str, required: &str) -> Self {
        let (file, now) = (acting(file), acting(now));
        let [before, after] =
            [&file, &now].map(|lines| lines.iter().map(|l| l.1).collect::<Vec<_>>());
        let required = acting(required);
        let count =
            |lines: &[(usize, &str)], wanted: &str| lines.iter().filter(|l| l.1 == wanted).count();
        let printed: BTreeSet<_> = after.iter().map(|line| shape(line)).collect();
        // A file of a million lines is compared roughly, rather than for minutes.
        let until = Some(Instant::now() + TIMEOUT);
        let mut difference = Self::default();
        for change in capture_diff_slices_deadline(Algorithm::Myers, &before, &after, until) {
            if matches!(change, DiffOp::Equal { .. }) {
                continue;
            }
            for line in &after[change.new_range()] {
                // Brackets and the like are there for the optional hosts as well.
                difference.lacks_required |= count(&file, line) < count(&required, line);
                difference.lacking.push((*line).to_owned());
            }
            for (number, line) in &file[change.old_range()] {
                difference.has_strange |= !printed.contains(&shape(line));
                difference.extra.push((*number, (*line).to_owned()));
            }
        }
        // A line in another place may decide before others do.
        let alike = |line: &str| {
            after
                .iter()
                .filter(|other| shape(other) == shape(line))
                .count()
        };
        let moved = |line: &String| difference.lacking.contains(line) && alike(line) == 1;
        difference.has_strange |= difference.extra.iter().any(|(_, line)| moved(line));
        difference
    }

    /// Whether the file is what is printed now.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.lacking.is_empty() && self.extra.is_empty()
    }
}

/// The lines that act, without remarks, each with its number.
fn acting(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(at, line)| (at + 1, line.split(" # ").next().unwrap_or(line).trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// A line with all its addresses alike, however many it lists, and without the numbers of our names.
fn shape(line: &str) -> String {
    let other = |c: char| !(c.is_ascii_alphanumeric() || "._:/-".contains(c));
    let words = line.split(other).filter(|word| !word.is_empty());
    let alike = |word: &'_ str| {
        if Cidr::covering(word).is_some() {
            "@".to_owned()
        } else if word.starts_with("tunnelcheck") {
            word.trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned()
        } else {
            word.to_owned()
        }
    };
    let mut words: Vec<_> = words.map(alike).collect();
    words.dedup();
    words.join(" ")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.lacking.is_empty() {
            writeln!(
                f,
                "\nLines that would be printed now, and are not in the file:"
            )?;
        }
        for line in &self.lacking {
            writeln!(f, "  + {}", escape(line))?;
        }
        if !self.extra.is_empty() {
            writeln!(
                f,
                "\nLines that are in the file, and would not be printed now:"
            )?;
        }
        self.extra
            .iter()
            .try_for_each(|(number, line)| writeln!(f, "  - {} (line {number})", escape(line)))
    }
}
