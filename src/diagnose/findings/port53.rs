//! Which way to the resolvers is closed, UDP 53 or TCP 53, and how long cloudflared waits for them.

use std::net::SocketAddr;

use super::Platform;
use crate::diagnose::words;
use crate::model::{Forecast, Lookup, LookupStatus, Observations, Via};

/// What the resolvers' two transports tell.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Port53 {
    /// What was seen, a sentence each.
    pub(super) evidence: Vec<String>,
    /// What to allow, where one transport alone is missing; a sentence each.
    pub(super) advice: Vec<String>,
}

impl Port53 {
    /// Compares UDP with TCP for each resolver that was asked.
    pub(super) fn of(seen: &Observations) -> Self {
        let mut found = Self::default();
        for server in &seen.resolvers {
            found.compare(seen, *server);
        }
        found
    }

    fn compare(&mut self, seen: &Observations, server: SocketAddr) {
        let via = Via::Resolver(server);
        let own = || seen.lookups.iter().filter(|lookup| lookup.via == via);
        let silent = own().any(|lookup| lookup.status.is_silence());
        let udp_blocked = own().count() > 0 && own().all(|lookup| lookup.status.is_silence());
        if own().any(|lookup| lookup.truncated && lookup.status.is_silence()) {
            self.evidence.push(format!(
                "the answers of {via} over UDP are truncated, and over TCP it does not answer"
            ));
            self.advice
                .push(format!("Allow TCP 53 to {via} in addition to UDP 53."));
        } else if silent && uses_tcp(seen) {
            self.evidence.push(format!(
                "resolv.conf asks for TCP from the start (options use-vc), and {via} does not answer \
                 over TCP"
            ));
            self.advice.push(format!(
                "Allow TCP 53 to {via}, or take `use-vc` out of resolv.conf."
            ));
        } else if let Some(tcp) = seen.over_tcp.iter().find(|l| udp_blocked && l.via == via) {
            self.over_tcp(tcp);
        }
    }

    fn over_tcp(&mut self, tcp: &Lookup) {
        let Lookup {
            via,
            status,
            elapsed_ms,
            ..
        } = tcp;
        if status.is_silence() || *status == LookupStatus::Malformed {
            let why = tcp.detail.as_deref().unwrap_or("no answer");
            self.evidence.push(format!(
                "TCP 53 of {via} does not answer either: {why} after {elapsed_ms}"
            ));
            return;
        }
        self.evidence.push(format!(
            "TCP 53 of {via} answers ({status} after {elapsed_ms}), UDP 53 does not"
        ));
        self.advice.push(format!(
            "Allow UDP 53 to {via}: cloudflared asks over TCP after a truncated answer only, never first."
        ));
    }

    /// The advice, or else `otherwise`.
    pub(super) fn advice_or(&self, otherwise: String) -> String {
        if self.advice.is_empty() {
            otherwise
        } else {
            self.advice.join(" ")
        }
    }
}

fn uses_tcp(seen: &Observations) -> bool {
    let options = seen.host.resolver_options.unwrap_or_default();
    options.use_tcp && seen.options.resolver.is_empty()
}

/// How long the system that cloudflared asks waits for a silent server before it asks the next.
pub(super) fn patience_with_one(seen: &Observations) -> String {
    match Platform::of(&seen.host) {
        Platform::Linux => format!(
            "{} s",
            seen.host.resolver_options.unwrap_or_default().timeout_s
        ),
        Platform::Windows => "about a second".to_owned(),
    }
}

/// How long cloudflared's resolver waits for silent servers at one lookup, as part of a sentence.
/// Windows' own client is asked there, which gives up after 10 s (Microsoft's article 2834226).
pub(super) fn timeout(seen: &Observations) -> String {
    if Platform::of(&seen.host) == Platform::Windows {
        return "waits about 10 s for silent resolvers".to_owned();
    }
    let options = seen.host.resolver_options.unwrap_or_default();
    let times = match options.attempts {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    };
    format!(
        "waits {} s for each silent resolver, {times}",
        options.timeout_s
    )
}

/// What cloudflared does with lookups that end like these, as far as that is known.
pub(super) fn ends<'a>(
    seen: &Observations,
    forecast: Option<&Forecast>,
    lookups: &(impl Iterator<Item = &'a Lookup> + Clone),
) -> String {
    let is = |status| lookups.clone().any(|lookup| lookup.status == status);
    let exits = exits(forecast);
    if is(LookupStatus::Suspicious) {
        "It takes the made-up addresses for the edge's and dials them.".to_owned()
    } else if is(LookupStatus::TimedOut) {
        format!("It {} at every lookup, and exits{exits}.", timeout(seen))
    } else if is(LookupStatus::Unreachable) {
        "It exits, at once if the kernel reports the error to it, else after 5 s a lookup."
            .to_owned()
    } else {
        "It exits within a second of its start.".to_owned()
    }
}

/// ` 60 s after its start`, as far as that is known.
pub(super) fn exits(forecast: Option<&Forecast>) -> String {
    forecast
        .and_then(|forecast| forecast.exit_after_s)
        .map_or_else(String::new, |after| {
            format!(" {} after its start", words::seconds(after))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResolverOptions;
    use crate::report::samples;

    fn seen(status: LookupStatus, truncated: bool) -> Observations {
        let mut seen = samples::ready().into_observations();
        for lookup in &mut seen.lookups {
            lookup.status = status;
            lookup.truncated = truncated;
        }
        seen
    }

    fn with_tcp(udp: LookupStatus, tcp: LookupStatus) -> Port53 {
        let mut seen = seen(udp, false);
        seen.over_tcp = vec![Lookup {
            status: tcp,
            ..seen.lookups[1].clone()
        }];
        Port53::of(&seen)
    }

    #[test]
    fn tcp_tells_a_blocked_port_from_a_dead_resolver() {
        for (udp, tcp, evidence, advice) in [
            (
                LookupStatus::TimedOut,
                LookupStatus::Ok,
                "UDP 53 does not",
                "Allow UDP 53",
            ),
            (
                LookupStatus::Unreachable,
                LookupStatus::Refused,
                "UDP 53 does not",
                "Allow UDP 53",
            ),
            (
                LookupStatus::TimedOut,
                LookupStatus::TimedOut,
                "not answer either",
                "",
            ),
            (
                LookupStatus::TimedOut,
                LookupStatus::Malformed,
                "not answer either",
                "",
            ),
            (LookupStatus::Refused, LookupStatus::Ok, "", ""),
        ] {
            let found = with_tcp(udp, tcp);
            assert!(found.evidence.concat().contains(evidence), "{found:?}");
            assert!(found.advice.concat().contains(advice), "{found:?}");
            assert_eq!(found.advice.is_empty(), advice.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn truncation_and_use_vc_need_tcp() {
        let found = Port53::of(&seen(LookupStatus::TimedOut, true));
        assert!(found.evidence[0].contains("truncated"), "{found:?}");
        assert!(found.advice[0].contains("Allow TCP 53"), "{found:?}");
        assert_eq!(Port53::of(&seen(LookupStatus::Ok, true)), Port53::default());
        let mut tcp = seen(LookupStatus::TimedOut, false);
        tcp.host.resolver_options = Some(ResolverOptions {
            use_tcp: true,
            ..ResolverOptions::default()
        });
        let found = Port53::of(&tcp);
        assert!(found.advice[0].contains("use-vc"), "{found:?}");
        tcp.options.resolver = tcp.resolvers.clone();
        assert_eq!(Port53::of(&tcp), Port53::default());
    }

    #[test]
    fn patience_is_that_of_the_configuration() {
        let mut seen = seen(LookupStatus::TimedOut, false);
        let ended = |seen: &Observations| ends(seen, None, &seen.lookups.iter());
        assert!(ended(&seen).contains("waits 5 s for each silent resolver, twice"));
        seen.host.resolver_options = Some(ResolverOptions {
            use_tcp: false,
            timeout_s: 1,
            attempts: 3,
        });
        assert!(ended(&seen).contains("waits 1 s for each silent resolver, 3 times"));
    }
}
