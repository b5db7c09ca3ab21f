//! Lookups alone: what cloudflared would ask of DNS, and not one packet to the edge.

use std::env::consts::OS;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lookups::Lookups;
use crate::catalog;
use crate::model::{Family, Lookup, Options, RecordType, asks_all_resolvers};
use crate::net::dns::{Progress, Resolvers};
use crate::targets::{Asked, Names, hosts_with_a_rule};

/// Asks for the names of the edge, and of the optional hosts that get a rule, until all questions are settled, or the
/// time of the run is used up; none when `interrupted` comes true before.
pub async fn resolve_all(
    options: &Options,
    resolvers: &Resolvers,
    interrupted: impl Future<Output = ()>,
) -> Option<Vec<Lookup>> {
    let deadline = Instant::now() + Duration::from_secs_f64(options.timeout_s);
    let mut questions = Lookups::new(resolvers.clone());
    let mut lookups = Vec::new();
    tokio::pin!(interrupted);
    loop {
        for (name, record_type) in to_ask(options, &lookups) {
            questions.ask(&name, record_type);
        }
        if questions.unsettled().is_empty() {
            return Some(lookups);
        }
        tokio::select! {
            progress = questions.next() => match progress {
                Some(Progress::Lookup(lookup) | Progress::OverTcp(lookup)) => lookups.push(lookup),
                Some(Progress::Settled(_)) | None => {}
            },
            () = sleep_until(deadline) => return Some(lookups),
            () = &mut interrupted => return None,
        }
    }
}

/// What is to be asked, as far as the answers so far tell: the targets of the SRV record, and the
/// usual ones, whose addresses are wanted at once.
fn to_ask(options: &Options, lookups: &[Lookup]) -> Vec<Asked> {
    let names = Names::settled(lookups, &[]).where_any_counts(asks_all_resolvers(OS));
    let edge = names.edge_hosts(options).into_iter().map(|(host, _)| host);
    let mut hosts: Vec<String> = edge.chain(hosts_with_a_rule(options)).collect();
    let mut questions = Vec::new();
    if options.edge.is_empty() {
        questions.push((catalog::srv_name(options.region), RecordType::Srv));
        hosts.extend(catalog::usual_targets(options.region));
    }
    let is_name = |host: &String| host.parse::<std::net::IpAddr>().is_err();
    for host in hosts.into_iter().filter(is_name) {
        questions.extend(Family::BOTH.map(|family| (host.clone(), RecordType::of(family))));
    }
    questions
}
