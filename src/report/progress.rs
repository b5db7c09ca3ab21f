//! What is going on, on standard error, while a person waits.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::escape;
use crate::model::{Event, Family, LookupStatus, RowProgress, Service};

/// A line that is redrawn as events come in, and that leaves nothing behind.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    seen: Seen,
}

impl Progress {
    /// A line on standard error, or nothing at all where it is not `enabled`.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        let bar = if enabled {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        if enabled {
            // The template is a constant; a spinner without it would do as well.
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
                bar.set_style(style.tick_chars("-\\|/ "));
            }
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self {
            bar,
            seen: Seen::default(),
        }
    }

    /// Takes note of an event.
    pub fn on(&mut self, event: &Event) {
        self.seen.note(event);
        self.bar.set_message(self.seen.message());
    }

    /// Clears the line, so that the report stands alone.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// What the events so far amount to.
#[derive(Debug, Default)]
struct Seen {
    lookups: usize,
    answered: usize,
    rows: BTreeMap<(String, Service, Family), RowProgress>,
    latest: Option<(String, Service, Family)>,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        match event {
            Event::LookedUp(lookup) => {
                self.lookups += 1;
                self.answered += usize::from(lookup.status == LookupStatus::Ok);
            }
            Event::Row(row) => {
                let key = (row.host.clone(), row.service, row.family);
                self.latest = Some(key.clone());
                self.rows.insert(key, row.clone());
            }
        }
    }

    fn message(&self) -> String {
        let dns = format!("DNS {}/{}", self.answered, self.lookups);
        let settled = self
            .rows
            .values()
            .filter(|row| row.settled.is_some())
            .count();
        let Some(row) = self.latest.as_ref().and_then(|key| self.rows.get(key)) else {
            return dns;
        };
        let place = escape(row.region.as_deref().unwrap_or(&row.host));
        let known = match row.settled {
            Some(status) => status.to_string(),
            None => format!("{}/{}", row.reachable, row.total),
        };
        let total = self.rows.len();
        format!(
            "{dns}  settled {settled}/{total}  {} {} {place} {known}",
            row.service, row.family
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    fn row(reachable: usize, settled: Option<Status>) -> Event {
        Event::Row(RowProgress {
            host: "evil\x1b[31m".to_owned(),
            region: None,
            service: Service::Quic,
            family: Family::Ipv4,
            reachable,
            total: 10,
            settled,
        })
    }

    #[test]
    fn the_line_says_what_is_settled_and_what_is_going_on() {
        let mut seen = Seen::default();
        assert_eq!(seen.message(), "DNS 0/0");
        seen.note(&row(3, None));
        assert_eq!(
            seen.message(),
            "DNS 0/0  settled 0/1  quic IPv4 evil\\u{1b}[31m 3/10"
        );
        seen.note(&row(10, Some(Status::Reachable)));
        assert_eq!(
            seen.message(),
            "DNS 0/0  settled 1/1  quic IPv4 evil\\u{1b}[31m reachable"
        );
    }

    #[test]
    fn hidden_progress_takes_events_all_the_same() {
        let mut progress = Progress::new(false);
        progress.on(&row(1, None));
        progress.finish();
    }
}
