//! A difference in words: what, from what, to what.

use std::fmt;
use std::net::IpAddr;

use super::{Change, DestinationState, Difference, Move, Outcome, State, Subject, Trend};
use crate::model::{Cause, Service, Source, Verdict};

impl Trend {
    /// The heading over such changes.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Worse => "Worse",
            Self::NoLongerCertain => "No longer certain",
            Self::Better => "Better",
            Self::NowCertain => "Now certain",
            Self::Changed => "Changed",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict => f.write_str("verdict"),
            Self::SuggestedProtocol => f.write_str("suggested protocol"),
            Self::Protocol { protocol } => write!(f, "{protocol}"),
            Self::Destination {
                service,
                place,
                family,
            } => match service {
                Service::Https => write!(f, "{place} {} {family}", service.transport()),
                _ => write!(f, "{place} {service} {family}"),
            },
            Self::Lookup {
                via,
                name,
                record_type,
            } => write!(f, "DNS {via}: {record_type} {name}"),
            Self::ServerName { name, transport } => write!(f, "server name {name} {transport}"),
            Self::Finding { code } => write!(f, "finding {code}"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict { verdict } => verdict.fmt(f),
            Self::SuggestedProtocol {
                protocol: Some(own),
            } => own.fmt(f),
            Self::SuggestedProtocol { protocol: None } => f.write_str("none"),
            Self::Protocol { verdict, usable } => match (verdict, usable) {
                (Verdict::Inconclusive, true) => write!(f, "{verdict}, usable"),
                _ => verdict.fmt(f),
            },
            Self::Destination(row) => row.fmt(f),
            Self::Lookup { lookup } => lookup.fmt(f),
            Self::ServerName { status, cause } => {
                status.fmt(f)?;
                because(*cause, f)
            }
            Self::Finding { severity, titles } => {
                let titles: Vec<_> = titles.iter().map(String::as_str).collect();
                write!(f, "{severity}: {}", titles.join("; "))
            }
        }
    }
}

impl fmt::Display for DestinationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        because(self.cause, f)?;
        if self.total > 0 {
            write!(f, ", {} of {} addresses", self.passing.len(), self.total)?;
        }
        if self.source == Source::Documented {
            f.write_str(", documented addresses")?;
        }
        Ok(())
    }
}

fn because(cause: Option<Cause>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match cause {
        Some(cause) => write!(f, " ({cause})"),
        None => Ok(()),
    }
}

impl Change {
    /// From what to what, without the subject: `ready -> degraded`.
    #[must_use]
    pub fn course(&self) -> String {
        let course = match (&self.subject, &self.before, &self.after) {
            (Subject::Finding { .. }, None, Some(state)) => format!("new: {state}"),
            (Subject::Finding { .. }, Some(state), None) => format!("gone: {state}"),
            (_, before, after) => format!(
                "{} -> {}",
                or_absent(before.as_ref()),
                or_absent(after.as_ref())
            ),
        };
        course + &self.crossed()
    }

    /// The addresses that stopped and started, where the row still passes in part: of one that is
    /// wholly lost or won, everybody knows which. And those of which too little is known on one side.
    fn crossed(&self) -> String {
        let in_part = [&self.before, &self.after].into_iter().any(
            |state| matches!(state, Some(State::Destination(row)) if !row.passing.is_empty() && !row.blocked.is_empty()),
        );
        let told = |what, addresses: &std::collections::BTreeSet<IpAddr>, shown| {
            if shown && !addresses.is_empty() {
                format!("; {what}: {}", list(addresses))
            } else {
                String::new()
            }
        };
        [
            told("stopped passing", &self.stopped, in_part),
            told("started to pass", &self.started, in_part),
            told("undecided now", &self.undecided, true),
            told("undecided before", &self.decided, true),
        ]
        .concat()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.course())
    }
}

impl Move {
    /// What came and went, without the place.
    #[must_use]
    pub fn course(&self) -> String {
        let mut parts = Vec::new();
        if self.host_before != self.host_after {
            parts.push(format!("{} -> {}", self.host_before, self.host_after));
        }
        for (what, addresses) in [("added", &self.added), ("withdrawn", &self.withdrawn)] {
            if !addresses.is_empty() {
                parts.push(format!("{what} {}", list(addresses)));
            }
        }
        parts.join("; ")
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} in DNS: {}",
            self.place,
            self.family,
            self.course()
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotWorse => "not worse",
            Self::Worse => "worse",
            Self::Uncertain => "uncertain",
        })
    }
}

impl Difference {
    /// The difference as lines of plain text, what got worse first; none where nothing differs.
    /// Texts of others in it are not escaped.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let headed = |trend: Trend| {
            let heading = trend.heading().to_lowercase();
            let lines = lines(self.of(trend)).into_iter();
            lines.map(move |line| format!("{heading}: {line}"))
        };
        let changes = Trend::ALL.into_iter().flat_map(headed);
        let moved = self.moved.iter().map(|moved| format!("moved: {moved}"));
        changes.chain(moved).collect()
    }
}

/// Changes in a line each. Questions to one resolver that took the same course share a line: a
/// resolver that falls silent changes all of its answers.
#[must_use]
pub fn lines<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<String> {
    let (mut texts, mut resolvers) = (Vec::new(), Vec::<(String, Vec<String>)>::new());
    for change in changes {
        let Subject::Lookup {
            via,
            name,
            record_type,
        } = &change.subject
        else {
            texts.push(change.to_string());
            continue;
        };
        let course = format!("DNS {via}: {}", change.course());
        let question = format!("{record_type} {name}");
        match resolvers.iter_mut().find(|(known, _)| *known == course) {
            Some((_, questions)) => questions.push(question),
            None => resolvers.push((course, vec![question])),
        }
    }
    let told =
        |(course, questions): (String, Vec<String>)| format!("{course}: {}", questions.join(", "));
    texts.extend(resolvers.into_iter().map(told));
    texts
}

fn or_absent(state: Option<&State>) -> String {
    state.map_or_else(|| "not checked".to_owned(), State::to_string)
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    let texts: Vec<_> = addresses.into_iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

/// The outcome in a sentence.
pub(super) fn summary(outcome: Outcome, changes: &[(Trend, Change)]) -> String {
    match outcome {
        Outcome::NotWorse if changes.is_empty() => "Nothing is different.".to_owned(),
        Outcome::NotWorse => "Nothing required got worse.".to_owned(),
        Outcome::Worse => {
            let worse =
                |(trend, change): &&(Trend, Change)| *trend == Trend::Worse && change.required;
            format!("Got worse: {}.", subjects(changes.iter().filter(worse)))
        }
        Outcome::Uncertain => {
            let unknown = |(_, change): &&(Trend, Change)| change.may_be_loss();
            let subjects = subjects(changes.iter().filter(unknown));
            format!("Nothing is proven to have got worse, but this may have: {subjects}.")
        }
    }
}

fn subjects<'a>(changes: impl Iterator<Item = &'a (Trend, Change)>) -> String {
    let mut names: Vec<_> = changes
        .map(|(_, change)| change.subject.to_string())
        .collect();
    names.dedup();
    names.join(", ")
}
