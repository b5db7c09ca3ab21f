//! Commands of `PowerShell` (`New-NetFirewallRule`) and `netsh advfirewall`.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::lex::{Kind, POWERSHELL, lex};
use super::permit::{combinations, some_ports, transport};

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    for (line, words) in commands(text) {
        let is = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is("New-NetFirewallRule") {
            rule(&parameters(&words), line, into);
        } else if is("advfirewall") && is("add") {
            rule(&pairs(&words), line, into);
        }
    }
}

/// The words of each command, which a line does not end inside parentheses.
fn commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut done = Vec::new();
    let mut words = Vec::new();
    let mut begun = 0;
    let mut depth = 0_usize;
    for token in lex(text, POWERSHELL) {
        match token.kind {
            Kind::Word(word) => {
                if words.is_empty() {
                    begun = token.line;
                }
                words.push(word);
            }
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            Kind::Newline | Kind::Mark(';' | '|' | '{' | '}') if depth == 0 => {
                if !words.is_empty() {
                    done.push((begun, std::mem::take(&mut words)));
                }
            }
            Kind::Newline | Kind::Mark(_) => {}
        }
    }
    done
}

type Parameters<'a> = HashMap<String, Vec<&'a str>>;

/// `-Name VALUE, VALUE`; a name may end in a colon.
fn parameters(words: &[String]) -> Parameters<'_> {
    let mut parameters = Parameters::new();
    let mut name = String::new();
    for word in words {
        // A text in quotes may begin with a hyphen as well, but is never a bare word.
        let option = word
            .strip_prefix('-')
            .map(|rest| rest.trim_end_matches(':'));
        let option = option.filter(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic()));
        if let Some(option) = option {
            name = option.to_ascii_lowercase();
            parameters.entry(name.clone()).or_default();
        } else if word != "@" {
            parameters.entry(name.clone()).or_default().push(word);
        }
    }
    parameters
}

/// netsh's `name=VALUE,VALUE`, in the words of `New-NetFirewallRule`.
fn pairs(words: &[String]) -> Parameters<'_> {
    let mut parameters = Parameters::new();
    let mut name = String::new();
    for word in words {
        let value = match word.split_once('=') {
            Some((key, value)) => {
                name = match key.to_ascii_lowercase().as_str() {
                    "dir" => "direction".to_owned(),
                    "remoteip" => "remoteaddress".to_owned(),
                    "localip" => "localaddress".to_owned(),
                    other => other.to_owned(),
                };
                value
            }
            None => word,
        };
        parameters.entry(name.clone()).or_default().push(value);
    }
    parameters
}

/// Parameters that put no condition on a flow.
const HARMLESS: &[&str] = &[
    "",
    "action",
    "description",
    "direction",
    "displayname",
    "enabled",
    "erroraction",
    "group",
    "name",
    "policystore",
    "profile",
    "protocol",
    "remoteaddress",
    "remoteport",
];

fn rule(parameters: &Parameters<'_>, line: usize, into: &mut Reading) {
    let is = |name: &str, values: &[&str]| {
        let said = parameters.get(name).into_iter().flatten();
        said.into_iter()
            .any(|said| values.iter().any(|value| said.eq_ignore_ascii_case(value)))
    };
    // What leaves from a port of this host is an answer, or no flow of cloudflared's.
    let fixed_port = parameters.contains_key("localport");
    if !is("direction", &["Outbound", "out"]) || is("enabled", &["False", "no"]) || fixed_port {
        return;
    }
    let list = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let everyone = |said: &str| said.eq_ignore_ascii_case("any");
    let addresses = list("remoteaddress");
    let blocks = if addresses.iter().all(|said| everyone(said)) {
        Block::everywhere(|_| true)
    } else {
        let said = addresses.iter();
        said.filter_map(|said| Block::parse(said)).collect()
    };
    let protocols = list("protocol");
    let transports: Vec<_> = protocols
        .iter()
        .filter_map(|said| transport(said))
        .collect();
    if transports.is_empty() && !protocols.is_empty() {
        return;
    }
    let ports = list("remoteport").into_iter().map(some_ports);
    let ports: Vec<_> = ports.collect();
    let known = |name: &String| HARMLESS.contains(&name.as_str());
    let one_profile = list("profile").iter().any(|said| !everyone(said));
    let conditional = one_profile || !parameters.keys().all(known);
    let permits = combinations(&blocks, &transports, &ports, conditional, line);
    into.take(!is("action", &["Block"]), permits);
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;
    use crate::model::Transport;

    fn fit(text: &str) -> Fit {
        let mut reading = Reading::default();
        read(text, &mut reading);
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        let rule = "New-NetFirewallRule -DisplayName 'a b' -Direction Outbound";
        for (rest, expected) in [
            (
                "-Action Allow -Protocol TCP -RemotePort 7844 -RemoteAddress @('198.41.192.7',\n '1.1.1.1') | Out-Null",
                Fit::Yes,
            ),
            (
                "-Action Allow -Protocol TCP -RemotePort 443, 7844 `\n -RemoteAddress 198.41.192.0-198.41.192.255",
                Fit::Yes,
            ),
            ("-Action Allow", Fit::Yes),
            ("-Action Allow -Description '-e.example: quic'", Fit::Yes),
            ("-Action Allow -Protocol UDP -RemotePort 7844", Fit::No),
            ("-Action Allow -Protocol ICMPv6", Fit::No),
            (
                "-Action Allow -Protocol TCP -RemoteAddress LocalSubnet",
                Fit::No,
            ),
            ("-Action Block -Protocol TCP -RemotePort 7844", Fit::No),
            ("-Action Allow -Enabled False", Fit::No),
            ("-Action Allow -Program 'C:\\x.exe'", Fit::Perhaps),
            ("-Action Allow -Profile Domain", Fit::Perhaps),
        ] {
            assert_eq!(fit(&format!("{rule} {rest}\n")), expected, "{rest}");
        }
        assert_eq!(
            fit("New-NetFirewallRule -Direction Inbound -Action Allow\n"),
            Fit::No
        );
        assert_eq!(
            fit(
                "netsh advfirewall firewall add rule name=\"x\" dir=out action=allow protocol=TCP remoteip=1.1.1.1,198.41.192.7 remoteport=7844\n"
            ),
            Fit::Yes
        );
    }
}
