//! Commands of firewalld: rich rules of policies, and direct rules. Policies are asked by their priorities,
//! the rules of each by theirs, and of the same those that deny before those that accept.

use std::collections::HashMap;

use super::Reading;
use super::block::Block;
use super::iptables::Tables;
use super::lex::{SHELL, commands, lex};
use super::permit::{Ports, Said, combinations, from_ports, some_ports, transport};
use super::ways::{Step, Verdict, denial_first};
use crate::model::{Family, Transport};

/// The address sets of a file by name.
pub(super) type Sets = HashMap<String, Vec<Block>>;

/// The option's value, glued with `=` or as the next word.
fn value<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let glued = words
        .iter()
        .find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let after = || {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).map(String::as_str)
    };
    glued.or_else(after)
}

/// Learns what `--ipset=NAME --add-entry=ADDRESS` puts into a set.
pub(super) fn learn(words: &[String], sets: &mut Sets) {
    let Some(name) = value(words, "--ipset").or_else(|| value(words, "--new-ipset")) else {
        return;
    };
    let is = |option: &str| words.iter().any(|word| word.starts_with(option));
    if is("--remove-entr") || is("--delete-ipset") || is("--add-entries-from-file") {
        sets.remove(name);
        return;
    }
    if is("--add-entry") || is("--new-ipset") {
        let entries = words.iter().filter_map(|w| w.strip_prefix("--add-entry="));
        let entries = entries.chain(value(words, "--add-entry").filter(|_| !is("--add-entry=")));
        let blocks = entries.filter_map(Block::parse);
        sets.entry(name.to_owned()).or_default().extend(blocks);
    }
}

/// What the commands of a file say of each policy: `ingress ZONE` and `egress ZONE`.
pub(super) type Zones = HashMap<String, Vec<String>>;

/// Learns between which zones the policies of a file are.
pub(super) fn learn_zones(words: &[String], zones: &mut Zones) {
    let Some(policy) = value(words, "--policy") else {
        return;
    };
    let known = zones.entry(policy.to_owned()).or_default();
    for (option, side) in [
        ("--add-ingress-zone", "ingress"),
        ("--add-egress-zone", "egress"),
    ] {
        known.extend(value(words, option).map(|zone| format!("{side} {zone}")));
    }
}

/// Whether a policy is for what leaves the host, to wherever: no, yes, or not surely.
fn leaves(zones: Option<&Vec<String>>) -> Option<bool> {
    let said: Vec<_> = zones.into_iter().flatten().map(String::as_str).collect();
    let begins = |side: &str| said.iter().any(|zone| zone.starts_with(side));
    if begins("ingress") && !said.contains(&"ingress HOST") {
        return Some(false);
    }
    (said.contains(&"ingress HOST") && said.contains(&"egress ANY")).then_some(true)
}

/// The chain of the policies for what leaves the host.
const LIST: &str = "firewalld";

/// How far the ranks of two policies are apart whose priorities are next to each other.
const POLICY: i64 = 1 << 20;

/// The priority of a policy that has none.
const USUAL: i64 = -1;

/// Reads the words after `firewall-cmd`. False when they are no rule.
pub(super) fn command(
    words: &[String],
    (sets, zones): (&Sets, &Zones),
    tables: &mut Tables,
    line: usize,
    into: &mut Reading,
) -> bool {
    let is = |option: &str| words.iter().any(|word| word.starts_with(option));
    if is("--remove-rich-rule")
        || is("--remove-rule")
        || is("--delete-policy")
        || is("--set-priority")
    {
        into.doubt(line);
        return true;
    }
    if is("--direct") {
        return direct(words, sets, tables, line, into);
    }
    let rules = words
        .iter()
        .filter_map(|w| w.strip_prefix("--add-rich-rule="));
    let mut rules: Vec<_> = rules.collect();
    rules.extend(value(words, "--add-rich-rule").filter(|_| rules.is_empty()));
    // A zone's rules are about what comes in.
    let policy = value(words, "--policy").map(|name| leaves(zones.get(name)));
    if let Some(sure @ (None | Some(true))) = policy {
        let conditional = sure.is_none();
        for rule in &rules {
            rich_rule(rule, sets, (USUAL, conditional), line, into);
        }
        if let Some(target) = value(words, "--set-target") {
            close(target, USUAL, conditional, line, into);
        }
    }
    !rules.is_empty() || is("--add-entry") || is("--set-target")
}

/// What becomes of what no rule of a policy is about.
fn close(target: &str, priority: i64, conditional: bool, line: usize, into: &mut Reading) {
    let verdict = match target {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Deny,
        _ => return,
    };
    let all = combinations(&Block::everywhere(|_| true), &[], &[], conditional, line);
    into.list(
        LIST,
        Step::new(verdict, all).ranked(priority * POLICY + POLICY - 1),
    );
}

/// Reads the file of a policy. False when it is none for what leaves the host.
pub(super) fn policy(text: &str, into: &mut Reading) -> bool {
    if !text.contains("<policy") {
        return false;
    }
    let text = without_comments(text);
    let text = text.as_str();
    if !text.contains(r#"<ingress-zone name="HOST""#) {
        return true;
    }
    let head = text
        .split("<policy")
        .nth(1)
        .and_then(|rest| rest.split('>').next())
        .unwrap_or_default();
    let attribute = |name: &str| {
        let value = head.split(&format!("{name}=\"")).nth(1);
        value.and_then(|rest| rest.split('"').next())
    };
    let priority = attribute("priority")
        .and_then(|text| text.parse().ok())
        .unwrap_or(USUAL);
    // Towards one zone: whether that is where the flows go is not known.
    let conditional = !text.contains(r#"<egress-zone name="ANY""#);
    let mut at = 0;
    while let Some(begin) = text[at..].find("<rule").map(|found| at + found) {
        let end = text[begin..]
            .find("</rule>")
            .map_or(text.len(), |found| begin + found);
        let line = 1 + text[..begin].matches('\n').count();
        // Without its brackets an element reads like a rich rule.
        let words = text[begin..end].replace("/>", " ").replace(['<', '>'], " ");
        rich_rule(&words, &Sets::new(), (priority, conditional), line, into);
        at = end;
    }
    close(
        attribute("target").unwrap_or_default(),
        priority,
        conditional,
        0,
        into,
    );
    true
}

/// The text with its comments left empty.
fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        let (comment, after) = after.split_once("-->").unwrap_or((after, ""));
        plain.push_str(before);
        plain.push_str(&"\n".repeat(comment.matches('\n').count()));
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// `--direct --add-rule FAMILY TABLE CHAIN PRIORITY ARGUMENT...`
fn direct(
    words: &[String],
    sets: &Sets,
    tables: &mut Tables,
    line: usize,
    into: &mut Reading,
) -> bool {
    let Some(at) = words.iter().position(|w| w == "--add-rule") else {
        return false;
    };
    let [family, table, chain, priority, arguments @ ..] = &words[at + 1..] else {
        return false;
    };
    let family = match family.as_str() {
        "ipv4" => Family::Ipv4,
        "ipv6" => Family::Ipv6,
        _ => return false,
    };
    let mut rule = vec![
        "-t".to_owned(),
        table.clone(),
        "-A".to_owned(),
        chain.clone(),
    ];
    rule.extend_from_slice(arguments);
    tables.rank = priority.parse().unwrap_or(0);
    let understood = tables.rule(&rule, Some(family), sets, line, into);
    tables.rank = 0;
    understood
}

#[derive(Default)]
struct Rich {
    blocks: Vec<Block>,
    to_some: bool,
    families: Vec<Family>,
    transports: Vec<Said<Transport>>,
    ports: Vec<Said<Ports>>,
    element: String,
    conditional: bool,
    irrelevant: bool,
    priority: i64,
    accepts: Option<bool>,
}

fn rich_rule(
    text: &str,
    sets: &Sets,
    (policy, conditional): (i64, bool),
    line: usize,
    into: &mut Reading,
) {
    let mut rule = Rich {
        conditional,
        ..Rich::default()
    };
    for (_, words) in commands(&lex(text, SHELL), "") {
        for word in &words {
            rule.word(word, sets);
        }
    }
    if rule.irrelevant {
        return;
    }
    let Some(accepts) = rule.accepts else {
        return;
    };
    let own = rule.priority.clamp(-POLICY / 8, POLICY / 8);
    let rank = policy * POLICY + POLICY / 2 + 2 * own + denial_first(accepts);
    let verdict = if accepts {
        Verdict::Accept
    } else {
        Verdict::Deny
    };
    into.list(LIST, Step::new(verdict, rule.permits(line)).ranked(rank));
}

impl Rich {
    fn word(&mut self, word: &str, sets: &Sets) {
        let Some((name, value)) = word.split_once('=') else {
            self.bare(word);
            return;
        };
        match (self.element.as_str(), name) {
            (_, "family") => self.families.extend(match value {
                "ipv4" => Some(Family::Ipv4),
                "ipv6" => Some(Family::Ipv6),
                _ => None,
            }),
            ("destination", "address") => {
                self.to_some = true;
                self.understand(Block::parse(value).map(|block| vec![block]));
            }
            ("destination", "ipset") => {
                self.to_some = true;
                self.understand(sets.get(value).cloned());
            }
            ("rule", "priority") => match value.parse() {
                Ok(priority) => self.priority = priority,
                Err(_) => self.conditional = true,
            },
            ("source-port", "port") => match from_ports([value]) {
                Some(condition) => self.conditional |= condition,
                None => self.irrelevant = true,
            },
            ("port", "port") => self.ports.push(some_ports(value)),
            ("port" | "source-port", "protocol") => self.transports.extend(transport(value)),
            ("protocol", "value") => match transport(value) {
                Some(known) => self.transports.push(known),
                None => self.irrelevant = true,
            },
            (_, "priority" | "prefix" | "level" | "type") | ("limit", "value") => {}
            _ => self.conditional = true,
        }
    }

    /// Destinations that the file does not hold may be any.
    fn understand(&mut self, blocks: Option<Vec<Block>>) {
        self.conditional |= blocks.is_none();
        self.blocks
            .extend(blocks.unwrap_or_else(|| Block::everywhere(|_| true)));
    }

    fn bare(&mut self, word: &str) {
        match word {
            "accept" => self.accepts = Some(true),
            "drop" | "reject" => self.accepts = Some(false),
            "NOT" | "not" | "source" | "service" => self.conditional = true,
            "icmp-type" | "icmp-block" => self.irrelevant = true,
            _ => {}
        }
        word.clone_into(&mut self.element);
    }

    fn permits(&mut self, line: usize) -> Vec<super::Permit> {
        if !self.to_some {
            let families = &self.families;
            let fits = |family| families.is_empty() || families.contains(&family);
            self.blocks = Block::everywhere(fits);
        }
        combinations(
            &self.blocks,
            &self.transports,
            &self.ports,
            self.conditional,
            line,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;

    fn fit(text: &str) -> Fit {
        let mut reading = Reading::default();
        let mut sets = Sets::new();
        let mut tables = Tables::default();
        let host = ["ingress HOST", "egress ANY"].map(str::to_owned).to_vec();
        let zones = Zones::from([("out".to_owned(), host)]);
        for (line, words) in commands(&lex(text, SHELL), ";") {
            learn(&words, &mut sets);
            command(&words, (&sets, &zones), &mut tables, line, &mut reading);
        }
        tables.finish(&mut reading);
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn only_what_lets_new_flows_out_counts() {
        let rich =
            |rule: &str| format!("firewall-cmd --permanent --policy=out --add-rich-rule='{rule}'");
        for (rule, expected) in [
            (
                r#"rule family="ipv4" destination address="198.41.192.7" port port="7844" protocol="tcp" accept"#,
                Fit::Yes,
            ),
            (
                r#"rule priority="1" family="ipv4" destination address="198.41.192.0/24" accept"#,
                Fit::Yes,
            ),
            (
                r#"rule family="ipv4" destination address="198.41.192.7" port port="7844" protocol="udp" accept"#,
                Fit::No,
            ),
            (
                r#"rule family="ipv4" destination address="198.41.192.7" port port="7844" protocol="tcp" drop"#,
                Fit::No,
            ),
            (
                r#"rule family="ipv4" source address="10.0.0.0/8" destination address="198.41.192.7" accept"#,
                Fit::Perhaps,
            ),
            (
                r#"rule family="ipv6" port port="7844" protocol="tcp" accept"#,
                Fit::No,
            ),
            (r#"rule protocol value="icmp" accept"#, Fit::No),
        ] {
            assert_eq!(fit(&rich(rule)), expected, "{rule}");
        }
        let zone = "firewall-cmd --zone=public --add-rich-rule='rule family=ipv4 accept'";
        assert_eq!(fit(zone), Fit::No);
        let direct = "firewall-cmd --direct --add-rule ipv4 filter OUTPUT 0 -d 198.41.192.7 -p tcp --dport 7844 -j ACCEPT";
        assert_eq!(fit(direct), Fit::Yes);
        let file = r#"<policy target="DROP"><ingress-zone name="HOST"/>
            <rule family="ipv4"><destination address="198.41.192.0/24"/><port port="7844" protocol="tcp"/><accept/></rule></policy>"#;
        let mut reading = Reading::default();
        assert!(policy(file, &mut reading));
        assert!(policy(&file.replace("HOST", "ANY"), &mut reading));
        assert_eq!(reading.permits().len(), 1);
        assert_eq!(reading.permits()[0].line, 2);
        let set = "firewall-cmd --permanent --ipset=e --add-entry=198.41.192.7; firewall-cmd --policy out --add-rich-rule 'rule family=ipv4 destination ipset=e port port=7844 protocol=tcp accept'";
        assert_eq!(fit(set), Fit::Yes);
    }
}
