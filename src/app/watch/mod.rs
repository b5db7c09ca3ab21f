//! A check that is repeated: redrawn in place on a terminal, a line for each change elsewhere.

mod changes;
mod frame;

use std::io::{self, Write};
use std::time::Duration;

use crate::app::output::{self, Told};
use crate::app::settings::Settings;
use crate::app::terminal::Window;
use crate::model::{ExitStatus, Report};
use crate::report::{self, Content, Format, Verbosity, escape};
use changes::News;

/// How many changes a screen keeps.
const RECENT: usize = 5;

/// Tells one check after the other.
#[derive(Debug)]
pub struct Live<'a> {
    settings: &'a Settings,
    interval: Duration,
    news: News,
    recent: Vec<String>,
    checks: u64,
    status: ExitStatus,
}

impl<'a> Live<'a> {
    /// Nothing is told yet.
    #[must_use]
    pub fn new(settings: &'a Settings, interval: Duration) -> Self {
        Self {
            settings,
            interval,
            news: News::default(),
            recent: Vec::new(),
            checks: 0,
            status: ExitStatus::Inconclusive,
        }
    }

    /// What the last check says to the caller.
    #[must_use]
    pub const fn status(&self) -> ExitStatus {
        self.status
    }

    /// Tells a check: to the files, and to standard output, which is a window or none.
    ///
    /// # Errors
    /// As [`output::deliver`].
    pub fn tell(
        &mut self,
        report: Report,
        window: Option<Window>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let to = &self.settings.presentation;
        let baseline = self.settings.baseline.as_deref();
        self.status = output::exit_status(&report, baseline);
        let told = Told::new(report, baseline, to)?;
        output::replace_files(told.content(), to)?;
        self.checks += 1;
        // Of the formats only JSON and the table get here: `settings` refuses the others.
        let text = match (to.format, window) {
            (Format::Json, _) => report::json_line(told.content())?,
            (_, None) => lines(&self.tidings(&told)),
            (_, Some(window)) => {
                let tidings = self.tidings(&told);
                self.frame(&told, tidings, window)?
            }
        };
        output::write_text(&text, out)
    }

    /// Tells the last verdict where it is not told yet: a doubt waits for the next check.
    ///
    /// # Errors
    /// As [`Live::tell`].
    pub fn end(&mut self, window: Option<Window>, out: &mut dyn Write) -> io::Result<()> {
        let line = match (self.settings.presentation.format, window) {
            (Format::Json, _) | (_, Some(_)) => None,
            (_, None) => self.news.untold(),
        };
        line.map_or(Ok(()), |line| output::write_text(&lines(&[line]), out))
    }

    /// What is new, a line each.
    fn tidings(&mut self, told: &Told) -> Vec<String> {
        let quiet = self.settings.presentation.verbosity == Verbosity::Quiet;
        let before = match told.content() {
            Content::Compared(_, difference) if !quiet => difference.lines(),
            _ => Vec::new(),
        };
        self.news.of(told.report(), before, quiet)
    }

    fn frame(&mut self, told: &Told, tidings: Vec<String>, window: Window) -> io::Result<String> {
        // The first line is the verdict, which the table below has too.
        let skip = usize::from(self.checks == 1);
        // The newest check comes first, and in it what matters most.
        self.recent.splice(0..0, tidings.into_iter().skip(skip));
        self.recent.truncate(RECENT);
        let to = &self.settings.presentation;
        let style = to.style.with_width(window.columns);
        let mut table = Vec::new();
        report::render(told.content(), to.format, style, to.verbosity, &mut table)?;
        let table = String::from_utf8_lossy(&table);
        let heading = self.heading(told.report());
        let recent = self.recent.iter().map(|line| escape(line).into_owned());
        let notes: Vec<_> = std::iter::once(heading).chain(recent).collect();
        Ok(frame::frame(&notes, &table, window, self.checks == 1))
    }

    fn heading(&self, report: &Report) -> String {
        let (seconds, checks) = (self.interval.as_secs_f64(), self.checks);
        let at = escape(&report.started_at).into_owned();
        format!("Every {seconds} s until Ctrl-C. Check {checks} began {at}.")
    }
}

/// Lines that end with a line feed each, without anything that a terminal would act on.
fn lines(texts: &[String]) -> String {
    texts
        .iter()
        .flat_map(|text| [escape(text), "\n".into()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::Presentation;
    use crate::model::{Status, Verdict};
    use crate::report::{Style, samples};

    fn drawn(live: &mut Live<'_>, report: Report) -> String {
        let mut out = Vec::new();
        let window = Window {
            columns: 200,
            rows: 100,
        };
        live.tell(report, Some(window), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_has_the_first_verdict_and_the_last_changes_stand_above() {
        let settings = Settings {
            options: samples::options(),
            cacert: None,
            baseline: None,
            watch: None,
            presentation: Presentation {
                format: Format::Table,
                style: Style::new(false, None),
                verbosity: Verbosity::Normal,
                outputs: Vec::new(),
                redact: false,
                progress: false,
            },
        };
        let mut live = Live::new(&settings, Duration::from_secs(5));
        let first = drawn(&mut live, samples::ready());
        assert!(!first.contains("Z ready: "), "{first}");
        let mut blocked = samples::ready();
        blocked.destinations[0].status = Status::Blocked;
        blocked.verdict = Verdict::Degraded;
        let mut last = String::new();
        for _ in 0..9 {
            drawn(&mut live, blocked.clone());
            last = drawn(&mut live, samples::ready());
        }
        let changes = last.lines().filter(|line| line.contains(" -> ")).count();
        assert_eq!(changes, RECENT, "{last}");
    }
}
