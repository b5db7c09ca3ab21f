//! What the lookups of a run say about names.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::catalog;
use crate::model::{
    Answer, Attempt, Family, Lookup, LookupStatus, Options, Profile, RecordType, Via,
};

/// A name and a record type that has been asked for.
pub type Asked = (String, RecordType);

/// What the lookups say about one name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The answer is not in yet.
    Waiting,
    /// Addresses or targets, never none.
    Found(Vec<Answer>),
    /// No usable answer, with the status that says most.
    Failed(LookupStatus),
    /// Silence, for less time than cloudflared's own resolver would wait.
    Undecided,
}

/// Everything that name resolution has told so far.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    lookups: &'a [Lookup],
    attempts: &'a [Attempt],
    unsettled: Option<&'a HashSet<Asked>>,
    any_counts: bool,
}

impl<'a> Names<'a> {
    /// All that a finished run has been told.
    #[must_use]
    pub const fn settled(lookups: &'a [Lookup], attempts: &'a [Attempt]) -> Self {
        Self {
            lookups,
            attempts,
            unsettled: None,
            any_counts: false,
        }
    }

    /// On a system that asks the resolvers of all its networks, what one of them denies another may give
    /// ([`Host::asks_all_resolvers`]).
    #[must_use]
    pub const fn where_any_counts(self, any_counts: bool) -> Self {
        Self { any_counts, ..self }
    }

    /// What a run has been told so far; `unsettled` questions may still be answered.
    #[must_use]
    pub const fn so_far(
        lookups: &'a [Lookup],
        attempts: &'a [Attempt],
        unsettled: &'a HashSet<Asked>,
    ) -> Self {
        Self {
            lookups,
            attempts,
            unsettled: Some(unsettled),
            any_counts: false,
        }
    }

    /// What is known of one name and type.
    #[must_use]
    pub fn resolution(&self, name: &str, record_type: RecordType) -> Resolution {
        let rows = || {
            self.lookups
                .iter()
                .filter(|l| l.name == name && l.record_type == record_type)
        };
        // The system's resolvers come first, TLS comes last.
        let spoken = self.spoken(name, record_type);
        let over_tls = rows().find(|l| l.via == Via::Dot && l.status == LookupStatus::Ok);
        match (spoken, over_tls) {
            (Some(found), _) if found.status == LookupStatus::Ok || self.vouches_for(found) => {
                return Resolution::Found(found.answers.clone());
            }
            (_, Some(found)) => return Resolution::Found(found.answers.clone()),
            _ => {}
        }
        let asked = (name.to_owned(), record_type);
        if self
            .unsettled
            .is_some_and(|unsettled| unsettled.contains(&asked))
        {
            return Resolution::Waiting;
        }
        let failed = spoken.or_else(|| rows().find(|l| l.status != LookupStatus::TimedOut));
        match failed {
            Some(lookup) => Resolution::Failed(lookup.status),
            None if rows().any(is_long_silence) => Resolution::Failed(LookupStatus::TimedOut),
            None => Resolution::Undecided,
        }
    }

    /// The answer of the first resolver of the system that speaks, which is the one that cloudflared
    /// hears.
    fn spoken(&self, name: &str, record_type: RecordType) -> Option<&'a Lookup> {
        let mut by_system = self
            .lookups
            .iter()
            .filter(|l| l.name == name && l.record_type == record_type && l.via != Via::Dot);
        let given = |l: &&Lookup| matches!(l.status, LookupStatus::Ok | LookupStatus::Suspicious);
        let any = by_system.clone().find(given).filter(|_| self.any_counts);
        any.or_else(|| by_system.find(|l| l.status.is_final()))
    }

    /// Whether an answer that cannot be right leads to the right place: a handshake as the name's host
    /// is spoken to passed there.
    fn vouches_for(&self, lookup: &Lookup) -> bool {
        let spoken_to = |attempt: &Attempt| match attempt.profile {
            Profile::Https => attempt.host == lookup.name,
            profile => !profile.is_experiment() && !self.is_optional(&lookup.name),
        };
        lookup.status == LookupStatus::Suspicious
            && lookup.addresses().any(|address| {
                let there = |a: &&Attempt| a.address == address && a.passed();
                self.attempts.iter().filter(there).any(spoken_to)
            })
    }

    /// Whether a name is an optional host's: a known one, or one that was spoken to as such.
    fn is_optional(&self, name: &str) -> bool {
        let spoken_to = |a: &Attempt| a.profile == Profile::Https && a.host == name;
        catalog::is_optional_host(name) || self.attempts.iter().any(spoken_to)
    }

    /// Whether the answer that cloudflared hears comes from this host's hosts file.
    pub(super) fn is_in_hosts_file(&self, name: &str, family: Family) -> bool {
        let spoken = self.spoken(name, RecordType::of(family));
        spoken.is_some_and(|lookup| lookup.via == Via::Hosts)
    }

    /// The answers for a name that cannot be its own, as long as nothing vouches for them; a few.
    pub(super) fn suspicious_answers(&self, name: &str, family: Family) -> Vec<IpAddr> {
        const FEW: usize = 2;
        let spoken = self.spoken(name, RecordType::of(family));
        let suspicious = spoken.filter(|l| l.status == LookupStatus::Suspicious);
        let lookup = suspicious.filter(|l| !self.vouches_for(l));
        let addresses = lookup.into_iter().flat_map(Lookup::addresses);
        let mut distinct: Vec<_> = addresses.filter(|a| !a.is_multicast()).collect();
        distinct.dedup();
        distinct.truncate(FEW);
        distinct
    }

    /// Whether the SRV record is known from DNS over TLS alone.
    #[must_use]
    pub fn only_over_tls(&self, name: &str) -> bool {
        self.spoken(name, RecordType::Srv)
            .is_none_or(|l| l.status != LookupStatus::Ok)
    }

    /// The addresses of a name in one family.
    #[must_use]
    pub fn addresses(&self, name: &str, family: Family) -> Resolution {
        self.resolution(name, RecordType::of(family))
    }

    /// The SRV record's first two targets with their ports, in order of priority, which are those that
    /// cloudflared uses; the usual targets while it is unknown or when it fails.
    #[must_use]
    pub fn edge_hosts(&self, options: &Options) -> Vec<(String, u16)> {
        if !options.edge.is_empty() {
            return options
                .edge
                .iter()
                .map(|edge| (edge.host.clone(), edge.port))
                .collect();
        }
        let mut found = self.srv_targets(options);
        // Where the record is missing, or names too few, the usual targets show the firewall's side.
        for host in catalog::usual_targets(options.region) {
            if found.len() < catalog::MINIMUM_SRV_TARGETS
                && found.iter().all(|(known, _)| *known != host)
            {
                found.push((host, catalog::EDGE_PORT));
            }
        }
        found.truncate(catalog::USED_SRV_TARGETS);
        found
    }

    /// The SRV record's further targets, in order of priority. cloudflared looks up their addresses,
    /// stops if there are none, and connects to none of them.
    #[must_use]
    pub fn unused_edge_hosts(&self, options: &Options) -> Vec<String> {
        if !options.edge.is_empty() {
            return Vec::new();
        }
        let further = self.srv_targets(options).into_iter();
        further
            .skip(catalog::USED_SRV_TARGETS)
            .map(|(host, _)| host)
            .collect()
    }

    /// Whether a name's addresses have been asked for at all.
    #[must_use]
    pub fn was_asked(&self, name: &str) -> bool {
        let asked = |l: &Lookup| l.name == name && l.record_type != RecordType::Srv;
        self.lookups.iter().any(asked)
    }

    /// All targets of the SRV record; none while it is unknown or when it fails.
    fn srv_targets(&self, options: &Options) -> Vec<(String, u16)> {
        let name = catalog::srv_name(options.region);
        match self.resolution(&name, RecordType::Srv) {
            Resolution::Found(answers) => services(&answers),
            Resolution::Waiting | Resolution::Failed(_) | Resolution::Undecided => Vec::new(),
        }
    }
}

/// Whether a resolver was silent for about as long as Go's resolver waits for one.
fn is_long_silence(lookup: &Lookup) -> bool {
    const SHARE: f64 = 0.8;
    lookup.elapsed_ms.duration() >= catalog::GO_RESOLVER_TIMEOUT.mul_f64(SHARE)
}

/// Targets and ports of SRV answers by priority (RFC 2782), each host once.
#[must_use]
pub fn services(answers: &[Answer]) -> Vec<(String, u16)> {
    let mut services: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Service {
                priority,
                port,
                target,
                ..
            } => Some((*priority, target.clone(), *port)),
            Answer::Address(_) => None,
        })
        .collect();
    services.sort_by_key(|(priority, ..)| *priority);
    let mut seen = HashSet::new();
    services.retain(|(_, target, _)| seen.insert(target.clone()));
    services
        .into_iter()
        .map(|(_, target, port)| (target, port))
        .collect()
}
