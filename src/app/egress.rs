//! What the program does for `rules`: looks up what has to be let out, and compares it with rules that are
//! there.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::app::settings::RulesSettings;
use crate::app::signals;
use crate::net::dns::{self, Resolvers};
use crate::net::host;
use crate::observe;
use crate::rules::check::{Check, Comparison, Reprint};
use crate::rules::{Egress, Surroundings};

/// Why there are no rules, or no comparison.
#[derive(Debug, Error)]
pub enum EgressError {
    /// The system gives no threads, timers or sockets to run on.
    #[error("the asynchronous runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    /// A lock-down would close the way of the resolver on this host, and with it all of DNS.
    #[error(
        "this host asks a resolver on itself ({}), and which servers that one asks is not known: a \
         lock-down would cut it off. Name its upstream resolvers with --resolver IP, once for each. If it \
         resolves by itself, make it forward to a resolver, or let UDP and TCP 53 out with a rule of your \
         own",
        list(.0)
    )]
    HiddenResolvers(Vec<SocketAddr>),
    /// Rules cannot be tried; the text has the remedy.
    #[error("--check-drift: {0}")]
    Trial(String),
}

/// Whether only resolvers on this host itself are known: those that they ask in turn would be cut off.
fn are_stubs(servers: &[SocketAddr]) -> bool {
    servers.iter().all(|server| server.ip().is_loopback())
}

fn list(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| server.ip().to_string())
        .collect();
    servers.join(", ")
}

/// Looks up what a firewall has to let out for cloudflared; nothing but DNS is sent. Returns nothing
/// when the user or the system asks the process to stop before.
///
/// # Errors
/// What keeps the program from looking at all (without DNS the documented addresses are given), and a
/// lock-down that would cut this host's own resolver off.
pub fn egress(settings: &RulesSettings) -> Result<Option<Egress>, EgressError> {
    let options = &settings.options;
    let resolvers = Resolvers::of(options);
    let servers = dns::asked_by_this_host(&options.resolver);
    if settings.is_for_this_host_alone() && are_stubs(&servers) {
        return Err(EgressError::HiddenResolvers(servers));
    }
    let lookups = if settings.offline {
        Some(Vec::new())
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let found = runtime.block_on(async {
            let interrupted = signals::asked()?;
            Ok::<_, io::Error>(observe::resolve_all(options, &resolvers, interrupted).await)
        })?;
        // Resolvers that are still asked although another one has answered are not waited for.
        runtime.shutdown_background();
        found
    };
    let surroundings = Surroundings {
        made_at: observe::now_to_the_second(),
        resolvers: servers,
        distribution: settings.distribution,
        offline: settings.offline,
    };
    Ok(lookups.map(|lookups| {
        let mut egress = Egress::new(options, &lookups, surroundings);
        if settings.is_for_this_host_alone() {
            egress.note_containers(&host::container_bridges());
        }
        egress
    }))
}

/// Compares rules that are there with what is needed today.
///
/// # Errors
/// The runtime, interruption, or that the rules cannot be tried, with the remedy.
pub fn compare(
    settings: &RulesSettings,
    egress: &Egress,
    check: &Check,
    printed: Option<&RulesSettings>,
) -> Result<Option<Comparison>, EgressError> {
    let Some(printed) = printed else {
        return check
            .run(egress, None)
            .map(Some)
            .map_err(EgressError::Trial);
    };
    // The file is printed again as of today, whatever was asked then.
    let printed_then = RulesSettings {
        offline: settings.offline,
        ..printed.clone()
    };
    let again = if printed.options == settings.options {
        Some(egress.clone())
    } else {
        self::egress(&printed_then)?
    };
    let Some(egress_again) = again else {
        return Ok(None);
    };
    let reprint = Reprint {
        dialect: printed.dialect(),
        container: printed.container().cloned(),
        egress: egress_again,
        lockdown: printed.lockdown.clone(),
        knows_all_hosts: printed.offline || !settings.offline,
    };
    check
        .run(egress, Some(&reprint))
        .map(Some)
        .map_err(EgressError::Trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_that_hides_whom_it_asks_is_told_from_one_that_does_not() {
        let servers = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(are_stubs(&servers(&["127.0.0.1:53", "[::1]:53"])));
        assert!(!are_stubs(&servers(&["127.0.0.1:53", "192.0.2.53:53"])));
        let refused = EgressError::HiddenResolvers(servers(&["127.0.0.1:53"])).to_string();
        assert!(
            refused.contains("a resolver on itself (127.0.0.1)")
                && refused.contains("--resolver IP")
        );
    }
}
