//! Commands of `PowerShell` (`New-NetFirewallRule`) and `netsh advfirewall`.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::lex::{Kind, POWERSHELL, lex};
use super::permit::{combinations, from_ports, some_ports, transport};
use super::ways::{Policy, Step, Verdict, denial_first};

/// Reads a file.
pub(super) fn read(text: &str, into: &mut Reading) {
    for (line, words) in commands(text) {
        let is = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is("New-NetFirewallRule") {
            rule(&parameters(&words), line, into);
        } else if is("advfirewall") && is("add") {
            rule(&pairs(&words), line, into);
        } else if is("Set-NetFirewallProfile") || is("firewallpolicy") {
            policy(&words, into);
        } else if CHANGES.iter().any(|name| is(name))
            || is("advfirewall") && (is("delete") || is("set"))
        {
            // Which rules that are is not looked at; the printed script takes away those before it.
            if !into.ours {
                into.doubt(line);
            }
        }
    }
}

/// What changes rules, or takes them away.
const CHANGES: &[&str] = &[
    "Remove-NetFirewallRule",
    "Disable-NetFirewallRule",
    "Set-NetFirewallRule",
    "Set-NetFirewallAddressFilter",
    "Set-NetFirewallPortFilter",
];

/// The chain of the rules; one that blocks outweighs all others.
const LIST: &str = "windows";

/// What becomes of flows that no rule is about.
fn policy(words: &[String], into: &mut Reading) {
    let words: Vec<_> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)).map(String::as_str)
    };
    let is = |name: &str| words.iter().any(|word| word == name);
    let policy = match after("-defaultoutboundaction") {
        Some("block") => Policy::Deny,
        Some("allow" | "notconfigured") => Policy::Accept,
        _ if is("blockoutbound") => Policy::Deny,
        _ if is("allowoutbound") => Policy::Accept,
        _ => return,
    };
    into.ways.hook(LIST, None, policy, true);
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
    "localport",
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
    if !is("direction", &["Outbound", "out"]) || is("enabled", &["False", "$false", "no"]) {
        return;
    }
    let list = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let own_ports = list("localport");
    let own_ports = if own_ports.is_empty() {
        vec!["any"]
    } else {
        own_ports
    };
    let Some(narrow) = from_ports(own_ports) else {
        return;
    };
    let everyone = |said: &str| said.eq_ignore_ascii_case("any");
    let addresses = list("remoteaddress");
    let (blocks, understood) = if addresses.iter().all(|said| everyone(said)) {
        (Block::everywhere(|_| true), true)
    } else {
        destinations(&addresses)
    };
    let protocols = list("protocol");
    let transports: Vec<_> = protocols
        .iter()
        .filter_map(|said| transport(said))
        .collect();
    let variable = protocols.iter().any(|said| said.starts_with('$'));
    if transports.is_empty() && !protocols.is_empty() && !variable {
        return;
    }
    let ports = list("remoteport").into_iter().map(some_ports);
    let ports: Vec<_> = ports.collect();
    let known = |name: &String| HARMLESS.contains(&name.as_str());
    let one_profile = list("profile").iter().any(|said| !everyone(said));
    let conditional =
        narrow || variable || !understood || one_profile || !parameters.keys().all(known);
    let permits = combinations(&blocks, &transports, &ports, conditional, line);
    let accepts = !is("action", &["Block"]);
    let verdict = if accepts {
        Verdict::Accept
    } else {
        Verdict::Deny
    };
    into.list(
        LIST,
        Step::new(verdict, permits).ranked(denial_first(accepts)),
    );
}

/// The blocks, and whether all are understood: variables and the words of Windows for networks are not,
/// but for those that are never the edge's.
fn destinations(said: &[&str]) -> (Vec<Block>, bool) {
    let mut blocks = Vec::new();
    let mut understood = true;
    for text in said {
        let near = [
            "localsubnet",
            "intranet",
            "dns",
            "dhcp",
            "wins",
            "defaultgateway",
        ];
        let is_near = near
            .iter()
            .any(|word| text.to_ascii_lowercase().starts_with(word));
        match Block::parse(text) {
            Some(block) => blocks.push(block),
            None if is_near => {}
            None => {
                understood = false;
                blocks.extend(Block::everywhere(|_| true));
            }
        }
    }
    (blocks, understood)
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
