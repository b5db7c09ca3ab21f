//! The optional hosts on port 443: what cloudflared asks apart from its tunnel.
//!
//! Sources: cloudflared's `cmd/cloudflared/updater` (the updater asks one host for the URL of an
//! update, which is on another), `credentials` (the hosts of fed accounts), `cmd/cloudflared/tail`,
//! and Cloudflare's documentation, "Tunnel with firewall".

use crate::model::{OptionalHost, Region};

/// Where cloudflared looks for a new version of itself (cloudflared `cmd/cloudflared/updater`).
pub const UPDATE_HOST: &str = "update.argotunnel.com";

/// Cloudflare's API; the documentation and cloudflared's pre-check tie it to updates.
pub const API_HOST: &str = "api.cloudflare.com";

/// The API of fed accounts (cloudflared `credentials`).
pub const FED_API_HOST: &str = "api.fed.cloudflare.com";

/// Where an update itself is downloaded from: a release of cloudflared's repository. The download is
/// redirected to a content host, such as `release-assets.githubusercontent.com`.
pub const DOWNLOAD_HOST: &str = "github.com";

/// Where `cloudflared tail` reads a tunnel's log.
pub const MANAGEMENT_HOST: &str = "management.argotunnel.com";

/// The same for fed accounts (cloudflared `credentials`).
pub const FED_MANAGEMENT_HOST: &str = "management.fed.argotunnel.com";

/// What quick tunnels are requested from; no other tunnel asks it.
pub const QUICK_TUNNEL_HOST: &str = "api.trycloudflare.com";

/// Asked by cloudflared of 2023 for post-quantum error reports, and by none of today.
pub const RESEARCH_HOST: &str = "pqtunnels.cloudflareresearch.com";

/// The optional hosts that are probed unless the user leaves them out, in the order of the report.
#[must_use]
pub const fn optional_hosts(region: Option<Region>) -> [&'static str; 5] {
    let (api, management) = match region {
        Some(Region::Fed) => (FED_API_HOST, FED_MANAGEMENT_HOST),
        Some(Region::Us) | None => (API_HOST, MANAGEMENT_HOST),
    };
    [
        api,
        UPDATE_HOST,
        DOWNLOAD_HOST,
        management,
        QUICK_TUNNEL_HOST,
    ]
}

/// The same as hosts of a run, which the user did not name.
#[must_use]
pub fn usual_optional_hosts(region: Option<Region>) -> [OptionalHost; 5] {
    optional_hosts(region).map(|name| OptionalHost {
        name: name.to_owned(),
        asked: false,
    })
}

/// The optional hosts of a report that does not list its own: those that this program probed before
/// the list became part of the report.
pub const FORMER_OPTIONAL_HOSTS: [&str; 4] =
    [API_HOST, UPDATE_HOST, QUICK_TUNNEL_HOST, RESEARCH_HOST];

/// Whether the host is one of those that cloudflared asks, or asked once, apart from its tunnel.
#[must_use]
pub fn is_optional_host(host: &str) -> bool {
    let known = [None, Some(Region::Fed)]
        .into_iter()
        .flat_map(optional_hosts)
        .chain(FORMER_OPTIONAL_HOSTS);
    known.into_iter().any(|known| known == host) || host.ends_with(".cloudflareaccess.com")
}

/// Whether the host counts for `--strict` although the user did not name it: not a host that no
/// ordinary tunnel asks, nor one whose addresses move.
#[must_use]
pub fn counts_when_strict(host: &str) -> bool {
    host != QUICK_TUNNEL_HOST && has_rule(host)
}

/// Whether a firewall rule is printed for the host although the user did not name it: not where the
/// addresses move, so that a rule would soon be wrong, nor for a host that cloudflared does not ask.
#[must_use]
pub fn has_rule(host: &str) -> bool {
    ![
        DOWNLOAD_HOST,
        MANAGEMENT_HOST,
        FED_MANAGEMENT_HOST,
        RESEARCH_HOST,
    ]
    .contains(&host)
}

/// The host that validates Access tokens, with the `access` setting of a team.
#[must_use]
pub fn access_host(team: &str, region: Option<Region>) -> String {
    match region {
        Some(Region::Fed) => format!("{team}.fed.cloudflareaccess.com"),
        Some(Region::Us) | None => format!("{team}.cloudflareaccess.com"),
    }
}

/// What an optional host is for, in a few words.
#[must_use]
pub fn purpose(host: &str) -> &'static str {
    match host {
        UPDATE_HOST => "software updates",
        API_HOST => "the management API and updates",
        FED_API_HOST => "the management API of fed accounts",
        DOWNLOAD_HOST => {
            "the download of an update, by way of content hosts such as \
             release-assets.githubusercontent.com and objects.githubusercontent.com"
        }
        MANAGEMENT_HOST => "`cloudflared tail`",
        FED_MANAGEMENT_HOST => "`cloudflared tail` of fed accounts",
        QUICK_TUNNEL_HOST => "quick tunnels only",
        RESEARCH_HOST => {
            "post-quantum error reports of 2023; today's cloudflared no longer asks it"
        }
        _ if host.ends_with(".cloudflareaccess.com") => "validation of Access tokens",
        _ => "what you asked for with --optional-host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_region() {
        assert_eq!(access_host("acme", None), "acme.cloudflareaccess.com");
        assert_eq!(
            access_host("acme", Some(Region::Fed)),
            "acme.fed.cloudflareaccess.com"
        );
        let fed = optional_hosts(Some(Region::Fed));
        assert!(fed.contains(&FED_API_HOST) && fed.contains(&FED_MANAGEMENT_HOST));
        assert!(!fed.contains(&API_HOST) && !fed.contains(&MANAGEMENT_HOST));
        assert_eq!(optional_hosts(Some(Region::Us)), optional_hosts(None));
    }

    #[test]
    fn hosts_whose_addresses_move_neither_count_nor_have_a_rule() {
        for host in [DOWNLOAD_HOST, MANAGEMENT_HOST, FED_MANAGEMENT_HOST] {
            assert!(!counts_when_strict(host) && !has_rule(host), "{host}");
        }
        assert!(has_rule(QUICK_TUNNEL_HOST) && !counts_when_strict(QUICK_TUNNEL_HOST));
        for host in [UPDATE_HOST, API_HOST, FED_API_HOST] {
            assert!(counts_when_strict(host) && has_rule(host), "{host}");
        }
    }

    #[test]
    fn the_research_host_is_asked_by_nobody_of_today() {
        for region in [None, Some(Region::Us), Some(Region::Fed)] {
            assert!(!optional_hosts(region).contains(&RESEARCH_HOST));
        }
    }
}
