//! The time of a run in which failures count.

use std::time::Duration;

use super::flows::{first_packet_schedule, was_refused};
use super::tuning;
use crate::model::{Attempt, Moment};

/// The time of a run in which failures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Since when something comparable is known to be answered. Silence from before proves nothing: the
    /// whole path may have been down.
    pub from: Moment,
    /// Up to when failures count: the start of the last new flows of the kind that passed, where others
    /// may have met a limit since.
    pub until: Moment,
    /// From when on failures count after new flows met a limit; absent where they met none.
    pub resumed: Option<Moment>,
}

impl Window {
    /// All of the run.
    pub const WHOLE_RUN: Self = Self {
        from: Moment::START,
        until: Moment::NEVER,
        resumed: None,
    };

    /// The window from the first of these attempts on that was answered; all of the run if none was,
    /// because then there was nothing to begin with.
    #[must_use]
    pub fn of<'a>(attempts: &(impl Iterator<Item = &'a Attempt> + Clone)) -> Self {
        let quickest = attempts.clone().filter_map(Attempt::contact).min();
        let quickest = quickest.unwrap_or_default();
        let answered = attempts.clone().filter_map(|a| answered_try(a, quickest));
        Self {
            from: answered.min().unwrap_or_default(),
            ..Self::WHOLE_RUN
        }
    }

    /// The window without what comes before.
    pub(crate) fn from(self, from: Moment) -> Self {
        Self {
            from: self.from.max(from),
            ..self
        }
    }

    /// The window without what comes after.
    pub(crate) fn until(self, until: Moment) -> Self {
        Self {
            until: self.until.min(until),
            ..self
        }
    }

    /// The window after new flows met a limit.
    pub(crate) fn after_limit(self, resumed: Moment) -> Self {
        Self {
            resumed: Some(resumed),
            ..self.from(resumed)
        }
    }

    /// Whether the silence of what was sent then counts.
    pub(super) fn includes(&self, sent: Moment) -> bool {
        sent + tuning::SLACK >= self.from && !self.is_over(sent)
    }

    /// Whether a refusal of a flow that began then comes too late to count.
    pub(crate) fn is_over(&self, started: Moment) -> bool {
        started > self.until + tuning::SLACK
    }

    /// Whether the attempt counts at all. A limit that refuses may fall into step with the controls, so
    /// after one only silence counts.
    pub(crate) fn admits(&self, attempt: &Attempt) -> bool {
        let after_limit = |resumed| attempt.ended() >= resumed && !was_refused(attempt);
        attempt.passed() || self.resumed.is_none_or(after_limit)
    }
}

/// When the packet that was answered had been sent.
fn answered_try(attempt: &Attempt, quickest: Duration) -> Option<Moment> {
    let contact = attempt.contact()?;
    let schedule = first_packet_schedule(attempt.transport);
    let mut latest_first = schedule.iter().rev();
    let sent = latest_first.find(|sent| **sent + quickest <= contact);
    Some(attempt.started() + sent.copied().unwrap_or_default())
}
