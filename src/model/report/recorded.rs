//! Reports that were written before attempts knew the host and the role that they were made for. Both
//! are read once from the destination that lists an attempt, and from its server name.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};

use super::{Attempt, Destination};
use crate::model::Role;

/// The server name of cloudflared's pre-checks in those reports.
const PROBE_SNI: &str = "probe.cftunnel.com";

/// Reads destinations with attempts that know what they were made for.
pub(super) fn destinations<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Destination>, D::Error> {
    let mut destinations = Vec::<Destination>::deserialize(from)?;
    // Destinations that share an address list the same attempts, which stay the same.
    let mut hosts = HashMap::new();
    for destination in &mut destinations {
        let unknown = |attempt: &&mut Attempt| attempt.host.is_empty();
        for attempt in destination.probes.iter_mut().filter(unknown) {
            let flow = (
                (attempt.address, attempt.port, attempt.transport),
                (attempt.sni.clone(), attempt.profile, attempt.attempt),
                attempt.started(),
            );
            let host = hosts
                .entry(flow)
                .or_insert_with(|| destination.host.clone());
            attempt.host.clone_from(host);
            attempt.role = role(attempt, &destination.sni);
        }
    }
    Ok(destinations)
}

fn role(attempt: &Attempt, deciding_sni: &str) -> Role {
    match attempt.sni.as_str() {
        _ if attempt.profile.is_experiment() => Role::Experiment(attempt.profile),
        sni if sni == deciding_sni => Role::Tunnel,
        PROBE_SNI => Role::Probe,
        _ => Role::Documented,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::model::{Report, Role};

    const OPEN: &str = include_str!("../../../tests/replay/cases/all-open.json");

    /// A recorded report without what attempts know of their purpose.
    fn former() -> Value {
        let mut report: Value = serde_json::from_str(OPEN).unwrap();
        for destination in report["destinations"].as_array_mut().unwrap() {
            for attempt in destination["probes"].as_array_mut().unwrap() {
                let attempt = attempt.as_object_mut().unwrap();
                attempt.remove("host");
                attempt.remove("role");
            }
        }
        report
    }

    fn read(report: Value) -> Report {
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn attempts_of_a_former_report_know_what_they_were_made_for() {
        let report = read(former());
        let mut roles = Vec::new();
        for destination in &report.destinations {
            for attempt in &destination.probes {
                assert_eq!(attempt.host, destination.host);
                let role = match attempt.sni.as_str() {
                    "probe.cftunnel.com" => Role::Probe,
                    "cftunnel.com" => Role::Documented,
                    _ => Role::Tunnel,
                };
                assert_eq!(attempt.role, role, "{}", attempt.sni);
                roles.push(role);
            }
        }
        for role in [Role::Tunnel, Role::Probe, Role::Documented] {
            assert!(roles.contains(&role), "{role:?}");
        }
        let again = serde_json::to_value(&report).unwrap();
        assert_eq!(read(again), report);
    }

    #[test]
    fn experiments_are_known_by_their_first_flight() {
        let mut report = former();
        report["destinations"][0]["probes"][0]["profile"] = "small_hello".into();
        let attempt = &read(report).destinations[0].probes[0];
        assert_eq!(serde_json::to_value(attempt.role).unwrap(), "small_hello");
    }

    #[test]
    fn destinations_that_share_an_address_share_its_attempts() {
        let mut report = former();
        let known = read(report.clone()).into_observations().attempts.len();
        let mut other = report["destinations"][0].clone();
        other["host"] = "region9.v2.argotunnel.com".into();
        report["destinations"].as_array_mut().unwrap().push(other);
        assert_eq!(read(report).into_observations().attempts.len(), known);
    }

    #[test]
    fn what_attempts_say_of_themselves_is_kept() {
        let mut report = former();
        let attempt = &mut report["destinations"][0]["probes"][0];
        attempt["host"] = "region2.v2.argotunnel.com".into();
        attempt["role"] = "documented".into();
        let attempt = &read(report).destinations[0].probes[0];
        assert_eq!(attempt.role, Role::Documented);
        assert_eq!(attempt.host, "region2.v2.argotunnel.com");
    }
}
