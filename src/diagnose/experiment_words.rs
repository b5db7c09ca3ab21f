//! PURE: what experiments were made and what became of them, in words.

use super::JudgedRow;
use super::experiments::Experiments;
use crate::model::{Profile, Service};

pub(super) fn experiments(row: &JudgedRow) -> Experiments<'_> {
    let attempts: Vec<_> = row.attempts.iter().collect();
    Experiments::of(&row.target, &attempts)
}

/// What the experiments without success differ in.
pub(super) fn without_success(row: &JudgedRow) -> Vec<&'static str> {
    let experiments = experiments(row);
    super::experiments(row.target.service.transport())
        .iter()
        .filter(|profile| {
            experiments
                .result(**profile)
                .is_some_and(|tried| !tried.passed)
        })
        .map(|profile| difference(*profile, row.target.service))
        .collect()
}

/// What an experiment's first flight has of its own.
const fn difference(profile: Profile, service: Service) -> &'static str {
    match (profile, service) {
        (Profile::SmallPackets, Service::Quic) => "datagrams of 1200 bytes",
        (Profile::SmallPackets, _) => "segments of 1000 bytes",
        (Profile::SmallHello, _) => "a classical ClientHello in one packet",
        (Profile::ControlName, _) => "another server name",
        (Profile::VersionPing, _) => "an unknown QUIC version",
        (Profile::Cloudflared | Profile::Https, _) => "the tunnel's first flight",
    }
}

/// The experiments of rows and what became of them; rows in which the same became of them share a
/// sentence.
pub(super) fn experiment_results(rows: &[&JudgedRow]) -> Vec<String> {
    let mut alike: Vec<(String, Vec<String>)> = Vec::new();
    for (address, results) in rows.iter().filter_map(|row| results(row)) {
        match alike.iter_mut().find(|(known, _)| *known == results) {
            Some((_, addresses)) => addresses.push(address),
            None => alike.push((results, vec![address])),
        }
    }
    let told = alike.into_iter();
    told.map(|(results, addresses)| format!("experiments at {}: {results}", addresses.join(", ")))
        .collect()
}

/// Where a row's experiments were made, and what became of them; nothing if none of them
/// passed, which the detail of the cause says.
fn results(row: &JudgedRow) -> Option<(String, String)> {
    let experiments = experiments(row);
    let (mut address, mut any_passed) = (None, false);
    let profiles = super::experiments(row.target.service.transport()).iter();
    let results: Vec<_> = profiles
        .filter_map(|profile| {
            let tried = experiments.result(*profile)?;
            any_passed |= tried.passed;
            address = Some(tried.last.address.to_string());
            let outcome = match (tried.passed, tried.heard) {
                (true, _) => "passes",
                (false, true) => "is cut",
                (false, false) => "goes unanswered",
            };
            let what = difference(*profile, row.target.service);
            Some(format!("with {what} it {outcome}"))
        })
        .collect();
    let address = address.filter(|_| any_passed)?;
    Some((address, results.join(", ")))
}
