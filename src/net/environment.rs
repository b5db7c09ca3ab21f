//! What the process's environment and the kernel's settings say; nothing is sent.

use std::env;

use crate::model::{Proxy, UdpBuffers};

/// The variables that name proxies, each in both spellings that programs honour.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The proxies that the environment names. An empty variable counts as unset.
pub(super) fn proxies() -> Vec<Proxy> {
    let set = VARIABLES.iter().filter_map(|variable| {
        let value = env::var_os(variable)?;
        let value = value.to_string_lossy().into_owned();
        (!value.trim().is_empty()).then(|| proxy(variable, value.trim()))
    });
    let mut proxies: Vec<Proxy> = set.collect();
    // Windows knows one variable by both spellings.
    if cfg!(windows) {
        proxies.retain(|proxy| proxy.variable.starts_with(|c: char| c.is_ascii_uppercase()));
    }
    proxies
}

/// Reads `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT][/…]`. Whatever stands before the last `@` is
/// dropped before anything else is read, so that no part of a password can be taken for a host.
fn proxy(variable: &str, value: &str) -> Proxy {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let read = host_and_port(authority).filter(|_| is_scheme(scheme));
    let scheme = if read.is_some() { scheme } else { "http" };
    let (host, port) = read.map_or((None, None), |(host, port)| (Some(host), port));
    Proxy {
        variable: variable.to_owned(),
        scheme: scheme.to_ascii_lowercase(),
        host,
        port,
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                after
                    .strip_prefix(':')
                    .or_else(|| after.is_empty().then_some(""))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(named) {
        return None;
    }
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((host.to_owned(), port))
}

/// The kernel's limits for socket buffers, where there are such settings.
pub(super) fn udp_buffers() -> Option<UdpBuffers> {
    let limit = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(UdpBuffers {
        receive_max: limit("rmem_max")?,
        send_max: limit("wmem_max")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_without_their_credentials() {
        for (value, read) in [
            ("http://10.0.9.9:3128", "P=http://10.0.9.9:3128"),
            ("proxy.example:8080", "P=http://proxy.example:8080"),
            ("proxy.example", "P=http://proxy.example"),
            ("SOCKS5://u:p@proxy:1080/", "P=socks5://proxy:1080"),
            ("http://user:pa/ss@proxy:1?x#y", "P=http://proxy:1"),
            ("http://user:p@ss@proxy:1", "P=http://proxy:1"),
            ("user:secret@proxy", "P=http://proxy"),
            (
                "https://[2001:db8::1]:3128/",
                "P=https://[2001:db8::1]:3128",
            ),
            ("https://[2001:db8::1]", "P=https://[2001:db8::1]"),
        ] {
            assert_eq!(proxy("P", value).to_string(), read, "{value}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_said_to_be_none_and_not_kept() {
        for value in [
            "user:secret",
            "http://",
            "http://a b",
            "secret word",
            "://x",
            "[::1",
        ] {
            let read = proxy("P", value);
            assert_eq!(read.host, None, "{value}");
            assert!(!read.to_string().contains("secret"), "{read}");
            assert_eq!((read.scheme.as_str(), read.port), ("http", None));
        }
    }
}
