//! What a report says, subject by subject, in a form in which two reports can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::diagnose::{AddressState, RowVerdict, judgements};
use crate::model::{
    Cause, Destination, Family, Finding, FindingCode, Lookup, LookupStatus, RecordType, Report,
    Requirement, Service, Severity, Source, Status, Transport, Verdict, Via,
};
use crate::targets::{Target, counts_when_strict};

/// What a report says of each subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Each subject's state.
    pub(super) states: BTreeMap<Subject, State>,
    /// The subjects that a tunnel needs.
    pub(super) required: BTreeSet<Subject>,
    /// What DNS answered, by place and family.
    pub(super) answers: BTreeMap<(String, Family), Answers>,
}

/// What DNS says of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) host: String,
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// What can differ between two reports. Two reports speak of the same subject where these are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// The answer to the whole question.
    Verdict,
    /// The transport that cloudflared would end up with.
    SuggestedProtocol,
    /// One of the two transports.
    Protocol {
        /// Which one.
        protocol: Service,
    },
    /// A row.
    Destination {
        /// What is spoken there.
        service: Service,
        /// `region1`, `region2`, … whatever the names behind them, or the name of an optional host.
        place: String,
        /// The family.
        family: Family,
    },
    /// A question to a resolver.
    Lookup {
        /// Who was asked.
        via: Via,
        /// The name that was asked for.
        name: String,
        /// The record type that was asked for.
        #[serde(rename = "type")]
        record_type: RecordType,
    },
    /// A documented server name.
    ServerName {
        /// The name.
        name: String,
        /// The transport.
        transport: Transport,
    },
    /// A finding.
    Finding {
        /// Its code.
        code: FindingCode,
    },
}

/// What a report says of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum State {
    /// Of the whole question.
    Verdict {
        /// The answer.
        verdict: Verdict,
    },
    /// Of the transport that cloudflared would end up with.
    SuggestedProtocol {
        /// Which one, if any.
        protocol: Option<Service>,
    },
    /// Of one of the two transports.
    Protocol {
        /// The verdict on it alone.
        verdict: Verdict,
        /// Whether cloudflared would get a connection over it.
        usable: bool,
    },
    /// Of a row.
    Destination(DestinationState),
    /// Of a question: the best answer that came to it.
    Lookup {
        /// How it ended.
        lookup: LookupStatus,
    },
    /// Of a server name.
    ServerName {
        /// What is known of it.
        status: Status,
        /// How it is cut.
        cause: Option<Cause>,
    },
    /// Of a finding that is there, perhaps more than once.
    Finding {
        /// How bad it is at its worst.
        severity: Severity,
        /// Its titles in alphabetical order.
        titles: BTreeSet<String>,
    },
}

/// What a report says of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DestinationState {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
    /// What is known of it.
    pub status: Status,
    /// How it is blocked.
    pub cause: Option<Cause>,
    /// Where its addresses come from.
    pub source: Source,
    /// How many addresses there are.
    pub total: usize,
    /// The addresses that pass.
    pub passing: BTreeSet<IpAddr>,
    /// The addresses that are proven blocked.
    pub blocked: BTreeSet<IpAddr>,
    /// The addresses of which too little is known.
    pub undecided: BTreeSet<IpAddr>,
}

impl DestinationState {
    /// The row without what varies from run to run: which addresses were settled in time.
    #[must_use]
    pub(super) fn without_addresses(&self) -> Self {
        Self {
            total: 0,
            passing: BTreeSet::new(),
            blocked: BTreeSet::new(),
            undecided: BTreeSet::new(),
            ..self.clone()
        }
    }

    /// The addresses of which enough is known.
    #[must_use]
    pub(super) fn decided(&self) -> BTreeSet<IpAddr> {
        &self.passing | &self.blocked
    }
}

/// How much of a subject works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    None,
    /// A part.
    Some,
    /// All of it.
    All,
}

/// What a state is worth in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// So much works.
    Known(Level),
    /// The evidence does not suffice.
    Uncertain,
    /// Nobody asked, so there is nothing to compare with.
    Apart,
}

impl Standing {
    /// What a subject's state is worth; `None` where the report does not have the subject.
    #[must_use]
    pub const fn of(subject: &Subject, state: Option<&State>) -> Self {
        match (subject, state) {
            (_, Some(state)) => Self::of_state(subject, state),
            // A finding that is not there is what everybody wants.
            (Subject::Finding { .. }, None) => Self::Known(Level::All),
            (_, None) => Self::Apart,
        }
    }

    const fn of_state(subject: &Subject, state: &State) -> Self {
        match state {
            State::Verdict { verdict } | State::Protocol { verdict, .. } => {
                Self::of_verdict(*verdict)
            }
            State::Destination(DestinationState { status, .. })
            | State::ServerName { status, .. } => Self::of_status(*status),
            State::Lookup {
                lookup: LookupStatus::Ok,
            } => Self::Known(Level::All),
            State::Lookup { .. } => Self::Known(Level::None),
            State::SuggestedProtocol { .. } => Self::Apart,
            State::Finding { severity, .. } => match (subject, severity) {
                (
                    Subject::Finding {
                        code:
                            FindingCode::Undecided
                            | FindingCode::BudgetEnded
                            | FindingCode::RunInterrupted,
                    },
                    _,
                ) => Self::Uncertain,
                (_, Severity::Info) => Self::Apart,
                (_, Severity::Warning | Severity::Error) => Self::Known(Level::None),
            },
        }
    }

    const fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ready => Self::Known(Level::All),
            Verdict::Degraded => Self::Known(Level::Some),
            Verdict::Blocked => Self::Known(Level::None),
            Verdict::Inconclusive => Self::Uncertain,
            Verdict::Skipped => Self::Apart,
        }
    }

    const fn of_status(status: Status) -> Self {
        match status {
            Status::Reachable => Self::Known(Level::All),
            Status::Partial => Self::Known(Level::Some),
            // A host that loses a family by a lock-down (of ICMPv6, say) has lost its rows.
            Status::Blocked | Status::Unresolved | Status::Unavailable => Self::Known(Level::None),
            Status::Inconclusive => Self::Uncertain,
            Status::Skipped => Self::Apart,
        }
    }
}

impl Facts {
    /// What a report says.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let mut facts = Self::default();
        facts.add_verdicts(report);
        let judged = judgements(&report.clone().into_observations());
        for row in &report.destinations {
            let own = judged.iter().find(|(target, _)| is_of(target, row));
            facts.add_row(report, row, own);
        }
        for lookup in &report.dns.lookups {
            facts.add_lookup(lookup);
        }
        for name in &report.sni {
            let subject = Subject::ServerName {
                name: name.name.clone(),
                transport: name.transport,
            };
            let (status, cause) = (name.status, name.cause);
            facts.add(subject, State::ServerName { status, cause }, false);
        }
        for finding in &report.findings {
            facts.add_finding(finding);
        }
        facts
    }

    /// All subjects that the report speaks of.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.states.keys()
    }

    /// What the report says of a subject.
    pub(crate) fn state(&self, subject: &Subject) -> Option<&State> {
        self.states.get(subject)
    }

    /// What it is worth.
    pub(crate) fn standing(&self, subject: &Subject) -> Standing {
        Standing::of(subject, self.state(subject))
    }

    /// Says of a subject what `told` says.
    pub(crate) fn put_back(&mut self, subject: &Subject, told: &Self) {
        match told.states.get(subject) {
            Some(state) => self.states.insert(subject.clone(), state.clone()),
            None => self.states.remove(subject),
        };
    }

    /// Keeps the answers of DNS of `told` where there is none now.
    pub(crate) fn keep_answers(&mut self, told: &Self) {
        for (key, answers) in &told.answers {
            let answers = || answers.clone();
            self.answers.entry(key.clone()).or_insert_with(answers);
        }
    }

    fn add(&mut self, subject: Subject, state: State, required: bool) {
        if required {
            self.required.insert(subject.clone());
        }
        self.states.insert(subject, state);
    }

    fn add_verdicts(&mut self, report: &Report) {
        let verdict = report.verdict;
        self.add(Subject::Verdict, State::Verdict { verdict }, true);
        let protocol = report.suggested_protocol;
        let suggested = State::SuggestedProtocol { protocol };
        self.add(Subject::SuggestedProtocol, suggested, false);
        for protocol in [Service::Quic, Service::Http2] {
            if let Some(own) = report.protocols.get(protocol) {
                let (verdict, usable) = (own.status, own.usable);
                let state = State::Protocol { verdict, usable };
                self.add(Subject::Protocol { protocol }, state, true);
            }
        }
    }

    fn add_row(&mut self, report: &Report, row: &Destination, own: Option<&(Target, RowVerdict)>) {
        let place = row.region.clone().unwrap_or_else(|| row.host.clone());
        if let Some((target, _)) = own.filter(|(target, _)| has_answer(target)) {
            let answers = Answers {
                host: row.host.clone(),
                addresses: target.addresses.iter().copied().collect(),
            };
            self.answers.insert((place.clone(), row.family), answers);
        }
        let subject = Subject::Destination {
            service: row.service,
            place,
            family: row.family,
        };
        let state = State::Destination(row_state(row, own.map(|(_, judgement)| judgement)));
        self.add(subject, state, counts(report, row));
    }

    /// Of several answers to one question the best counts, as it does for cloudflared.
    fn add_lookup(&mut self, lookup: &Lookup) {
        let subject = Subject::Lookup {
            via: lookup.via,
            name: lookup.name.clone(),
            record_type: lookup.record_type,
        };
        let better = match self.states.get(&subject) {
            Some(State::Lookup { lookup: known }) => rank(lookup.status) > rank(*known),
            _ => true,
        };
        if better {
            let lookup = lookup.status;
            self.add(subject, State::Lookup { lookup }, false);
        }
    }

    fn add_finding(&mut self, finding: &Finding) {
        let code = finding.code;
        let subject = Subject::Finding { code };
        let (mut severity, mut titles) = (finding.severity, BTreeSet::new());
        if let Some(State::Finding {
            severity: known,
            titles: others,
        }) = self.states.get(&subject)
        {
            // Severities are declared from the worst on.
            severity = severity.min(*known);
            titles.clone_from(others);
        }
        titles.insert(finding.title.clone());
        self.add(subject, State::Finding { severity, titles }, false);
    }
}

fn is_of(target: &Target, row: &Destination) -> bool {
    target.service == row.service
        && target.family == row.family
        && target.region == row.region
        && target.host == row.host
        && target.port == row.port
}

/// Whether a row's addresses are what DNS answered: those of the documentation say nothing of DNS.
fn has_answer(target: &Target) -> bool {
    target.source == Source::Dns && !target.addresses.is_empty()
}

/// Whether the verdict depends on the row.
pub(crate) fn counts(report: &Report, row: &Destination) -> bool {
    let strict = report.options.strict && counts_when_strict(&report.options, &row.host);
    row.requirement == Requirement::Required || (row.service == Service::Https && strict)
}

fn row_state(row: &Destination, judgement: Option<&RowVerdict>) -> DestinationState {
    let addresses = |wanted: fn(AddressState) -> bool| {
        let all = judgement.into_iter().flat_map(|own| &own.addresses);
        let own = all.filter(|(_, state)| wanted(*state));
        own.map(|(address, _)| *address).collect()
    };
    DestinationState {
        host: row.host.clone(),
        port: row.port,
        transport: row.transport,
        status: row.status,
        cause: row.cause,
        source: row.source,
        total: row.addresses.total,
        passing: addresses(|state| state == AddressState::Reachable),
        blocked: addresses(|state| matches!(state, AddressState::Blocked(_))),
        undecided: addresses(|state| state == AddressState::Open),
    }
}

/// Later answers say more: they came from the name's own server.
const fn rank(status: LookupStatus) -> u8 {
    match status {
        LookupStatus::TimedOut => 0,
        LookupStatus::Unreachable => 1,
        LookupStatus::Malformed => 2,
        LookupStatus::Refused => 3,
        LookupStatus::ServerFailure => 4,
        LookupStatus::NoSuchName => 5,
        LookupStatus::NoRecords => 6,
        LookupStatus::Suspicious => 7,
        LookupStatus::Ok => 8,
    }
}
