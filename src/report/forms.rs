//! One form of the report, chosen by its name or by the ending of a file.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::{Style, Verbosity, escape, github, json, junit, markdown, prometheus, table};
use crate::diff::Difference;
use crate::model::Report;

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people: the verdict, the destinations, what is wrong and what to do.
    Table,
    /// For programs: everything, as docs/json.md describes it.
    Json,
    /// For CI systems: a test case for the verdict and one for each destination, as JUnit XML.
    Junit,
    /// For job summaries and issue trackers: GitHub Flavored Markdown.
    Markdown,
    /// For jobs of GitHub Actions: workflow commands that annotate the run.
    Github,
    /// For `node_exporter`'s textfile collector: metrics of Prometheus.
    Prometheus,
}

impl Format {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 6] = [
        Self::Table,
        Self::Json,
        Self::Junit,
        Self::Markdown,
        Self::Github,
        Self::Prometheus,
    ];

    /// The word of `--format`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Markdown => "markdown",
            Self::Github => "github",
            Self::Prometheus => "prometheus",
        }
    }

    /// The endings that [`Format::of_path`] knows, for messages.
    pub const ENDINGS: &'static str = ".json, .txt, .xml (JUnit), .md and .prom";

    /// The format that a file's ending asks for.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "json" => Some(Self::Json),
            "txt" => Some(Self::Table),
            "xml" => Some(Self::Junit),
            "md" => Some(Self::Markdown),
            "prom" => Some(Self::Prometheus),
            _ => None,
        }
    }
}

/// What is told.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A report.
    Report(&'a Report),
    /// A report, and what is different from another one.
    Compared(&'a Report, &'a Difference),
    /// What is different between two reports.
    Difference(&'a Difference),
}

impl<'a> Content<'a> {
    /// The report and the difference, each where it is told.
    const fn parts(self) -> (Option<&'a Report>, Option<&'a Difference>) {
        match self {
            Self::Report(report) => (Some(report), None),
            Self::Compared(report, difference) => (Some(report), Some(difference)),
            Self::Difference(difference) => (None, Some(difference)),
        }
    }
}

impl<'a> From<&'a Report> for Content<'a> {
    fn from(report: &'a Report) -> Self {
        Self::Report(report)
    }
}

/// The JSON of a report with a difference: that of the report, with one member more.
#[derive(Serialize)]
struct Compared<'a> {
    #[serde(flatten)]
    report: &'a Report,
    difference: &'a Difference,
}

/// The content as JSON in a single line, for a stream of reports.
///
/// # Errors
/// None that a report can cause.
pub fn json_line<'a>(content: impl Into<Content<'a>>) -> io::Result<String> {
    match content.into() {
        Content::Report(report) => json::write_line(report),
        Content::Compared(report, difference) => json::write_line(&Compared { report, difference }),
        Content::Difference(difference) => json::write_line(difference),
    }
}

/// Writes the content in one of its forms.
///
/// Whatever a resolver, a remote host or a file put into the report, no control character and
/// nothing invisible is written but the line feeds and, where `style` allows colour, the colours of
/// the form itself.
///
/// # Errors
/// The writer's.
pub fn render<'a>(
    content: impl Into<Content<'a>>,
    format: Format,
    style: Style,
    verbosity: Verbosity,
    out: &mut dyn Write,
) -> io::Result<()> {
    let text = text(content.into(), format, style, verbosity)?;
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn json_text(content: Content<'_>) -> io::Result<String> {
    match content {
        Content::Report(report) => json::write(report),
        Content::Compared(report, difference) => json::write(&Compared { report, difference }),
        Content::Difference(difference) => json::write(difference),
    }
}

/// All forms but JSON, which has escapes of its own, get a report in which what acts on terminals is
/// visible already.
fn text(
    content: Content<'_>,
    format: Format,
    style: Style,
    verbosity: Verbosity,
) -> io::Result<String> {
    let (report, difference) = content.parts();
    let report = report.map(escape::escaped).transpose()?;
    let report = report.as_ref();
    Ok(match format {
        Format::Json => json_text(content)?,
        Format::Table => table::write_parts(report, difference, style, verbosity),
        Format::Junit => junit::write(report, difference)?,
        Format::Markdown => markdown::write(report, difference, verbosity),
        Format::Github => github::write(report, difference, verbosity),
        Format::Prometheus => prometheus::write(report, difference),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_whatever_its_case() {
        assert_eq!(Format::of_path(Path::new("a/b.JSON")), Some(Format::Json));
        assert_eq!(Format::of_path(Path::new("b.c.txt")), Some(Format::Table));
        assert_eq!(Format::of_path(Path::new("b.xml")), Some(Format::Junit));
        assert_eq!(Format::of_path(Path::new("b.md")), Some(Format::Markdown));
        assert_eq!(
            Format::of_path(Path::new("b.prom")),
            Some(Format::Prometheus)
        );
        for unknown in ["report", "report.pdf", ".json", "json", ""] {
            assert_eq!(Format::of_path(Path::new(unknown)), None, "{unknown}");
        }
    }
}
