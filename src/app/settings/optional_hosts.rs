//! Which optional hosts a check, or rules, are about.

use std::net::IpAddr;

use super::UsageError;
use crate::app::args::EdgeArgs;
use crate::catalog;
use crate::model::{OptionalHost, Region, is_host_name};

/// The usual hosts unless they are left out, then those that the user names; each once.
///
/// # Errors
/// A name that is not a host name.
pub(super) fn of(edge: &EdgeArgs, region: Option<Region>) -> Result<Vec<OptionalHost>, UsageError> {
    let mut hosts = Vec::new();
    if !edge.no_optional {
        hosts.extend(catalog::usual_optional_hosts(region));
    }
    for text in &edge.optional_host {
        let name = host_name(text).map_err(UsageError::OptionalHost)?;
        match hosts.iter_mut().find(|host| host.name == name) {
            Some(known) => known.asked = true,
            None => hosts.push(OptionalHost { name, asked: true }),
        }
    }
    Ok(hosts)
}

/// A host name in lower case, without the dot of the root.
fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let bare = name.trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return Err(format!(
            "`{text}` is an address; give the host's name, which the check looks up and presents"
        ));
    }
    if is_host_name(name) {
        return Ok(name.to_owned());
    }
    let without_scheme = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = without_scheme.split(['/', ':']).next().unwrap_or_default();
    Err(if host != name && is_host_name(host) {
        format!("`{text}` is more than a host name; give --optional-host {host}, on port 443")
    } else {
        format!("`{text}` is not a host name, such as github.com")
    })
}
