//! PURE: what is new in a check, compared with what has been told.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::diff::{Change, Facts, Standing, State, Subject, Trend, compare_facts, lines};
use crate::model::{Report, Severity};

/// Remembers what has been told.
///
/// A doubt is told once two checks in a row have it: a single packet that is lost too many makes a
/// row uncertain, and the next check knows it again.
#[derive(Debug, Default)]
pub(super) struct News {
    told: Option<Facts>,
    doubted: BTreeSet<Subject>,
    /// The last verdict's line, as long as it is held back.
    untold: Option<String>,
}

impl News {
    /// The lines that a check deserves: the verdict first, then `differences` from a baseline; later
    /// only what changed. Where `quiet`, nothing but verdicts.
    pub(super) fn of(
        &mut self,
        report: &Report,
        differences: Vec<String>,
        quiet: bool,
    ) -> Vec<String> {
        let now = Facts::of(report);
        let at = ended_at(report);
        let verdict = format!("{at} {}: {}", report.verdict, report.summary);
        let Some(told) = self.told.take() else {
            self.told = Some(now);
            let differences = differences.into_iter();
            let differences = differences.map(|line| format!("{at} {line}"));
            return std::iter::once(verdict).chain(differences).collect();
        };
        let now = self.patiently(&told, now);
        let is_told = now.state(&Subject::Verdict)
            == Some(&State::Verdict {
                verdict: report.verdict,
            });
        self.untold = (!is_told).then_some(verdict);
        let (mut changes, moves) = compare_facts(&told, &now);
        // An address more or less that a check does not get to know is no news.
        changes.retain(|(_, change)| !change.is_of_undecided_addresses());
        self.told = Some(now);
        let texts = texts(&changes, report, quiet);
        let moves = moves.iter().filter(|_| !quiet).map(ToString::to_string);
        let texts = texts.into_iter().chain(moves);
        texts.map(|text| format!("{at} {text}")).collect()
    }

    /// The line of the last verdict, where it has been held back.
    pub(super) fn untold(&mut self) -> Option<String> {
        self.untold.take()
    }

    /// The facts with those that have only now become uncertain as they have been told.
    fn patiently(&mut self, told: &Facts, mut now: Facts) -> Facts {
        let subjects = told.subjects().chain(now.subjects());
        let is_new = |subject: &&Subject| {
            let uncertain = |facts: &Facts| facts.standing(subject) == Standing::Uncertain;
            uncertain(&now) && !uncertain(told)
        };
        let doubted: BTreeSet<_> = subjects.filter(is_new).cloned().collect();
        let mut held: BTreeSet<_> = doubted.difference(&self.doubted).cloned().collect();
        let is_protocol = |subject: &Subject| matches!(subject, Subject::Protocol { .. });
        if held.iter().any(is_protocol) {
            // What cloudflared would end up with follows from what is not told yet.
            held.insert(Subject::SuggestedProtocol);
        }
        for subject in &held {
            now.put_back(subject, told);
        }
        now.keep_answers(told);
        self.doubted = doubted;
        now
    }
}

/// Changes in words, the verdict with its sentence.
fn texts(changes: &[(Trend, Change)], report: &Report, quiet: bool) -> Vec<String> {
    let (mut texts, mut lookups) = (Vec::new(), Vec::new());
    for (trend, change) in changes.iter().filter(|(_, change)| matters(change, quiet)) {
        match (&change.subject, trend, &change.before) {
            (Subject::Lookup { .. }, ..) => lookups.push(change),
            (Subject::Verdict, ..) => texts.push(format!("{change}: {}", report.summary)),
            (subject, Trend::NoLongerCertain, Some(before)) => {
                texts.push(format!("{subject}: no longer certain, was {before}"));
            }
            _ => texts.push(change.to_string()),
        }
    }
    texts.extend(lines(lookups));
    texts
}

/// Server names say again what the rows say; what is only good to know can wait for the report.
fn matters(change: &Change, quiet: bool) -> bool {
    let is_info = |state: &Option<State>| matches!(state, Some(State::Finding { severity, .. }) if *severity == Severity::Info);
    match &change.subject {
        Subject::Verdict => true,
        Subject::ServerName { .. } => false,
        _ => !quiet && !is_info(&change.before) && !is_info(&change.after),
    }
}

/// When a check was over, to the second; as the report has it where that is no time.
fn ended_at(report: &Report) -> String {
    let end = |began: Timestamp| {
        let length = SignedDuration::try_from(report.duration_ms.duration()).ok()?;
        Timestamp::from_second(began.checked_add(length).ok()?.as_second()).ok()
    };
    let began = report.started_at.parse().ok();
    let ended = began.and_then(end).map(|time| time.to_string());
    ended.unwrap_or_else(|| report.started_at.clone())
}

#[cfg(test)]
mod tests;
