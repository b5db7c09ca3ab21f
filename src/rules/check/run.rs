//! One comparison: who judges, and what comes of it.

use super::comparison::{Comparison, Subject, targets};
use super::fate::{Fate, Target};
use super::filters::{Filter, FilterFormat, Filters};
use super::own::{Difference, Printed};
use super::recognise::{Given, Lists};
use super::viewpoint::{Container, Viewpoint};
use crate::model::Requirement;
use crate::rules::{Cidr, Dialect, Egress, Lockdown, Purpose};

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rules.
    pub given: Given,
    /// From where flows are sent.
    pub viewpoint: Viewpoint,
    /// Whether the rules have to let out the resolvers: a lock-down does.
    pub closed: bool,
}

/// A file that this program printed, as it would be printed now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reprint {
    /// The dialect.
    pub dialect: Dialect,
    /// The container that it is for, if it is for one.
    pub container: Option<Container>,
    /// What it lets out, by the options in its header.
    pub egress: Egress,
    /// What stays open, if it is a lock-down.
    pub lockdown: Option<Lockdown>,
    /// Whether lines of hosts without documented addresses can be compared.
    pub knows_all_hosts: bool,
}

impl Check {
    /// Compares the rules with what is needed. `reprint` is there if this program printed the file.
    ///
    /// # Errors
    /// The kernel cannot be asked: one line with the remedy.
    pub fn run(&self, egress: &Egress, reprint: Option<&Reprint>) -> Result<Comparison, String> {
        match (&self.given, reprint) {
            (Given::Filters(filters), _) => self.by_kernel(egress, filters),
            (Given::Lists(lists), _) => Ok(self.by_lists(egress, lists)),
            (Given::Own(printed), Some(reprint)) => Ok(self.own(egress, printed, reprint)),
            (Given::Own(_), None) => Err("the file cannot be printed again".to_owned()),
        }
    }

    fn by_kernel(&self, egress: &Egress, filters: &Filters) -> Result<Comparison, String> {
        let is_here = self.viewpoint.container.is_none();
        let subject = Subject {
            what: filters
                .parts
                .iter()
                .map(|part| format!("{}: {}", part.name, part.format.as_str()))
                .collect(),
            in_force: filters.in_force,
            judges_dns: is_here,
            needs_resolvers: is_here && (filters.in_force || self.closed),
        };
        let judged: Vec<_> = targets(egress, &subject)
            .into_iter()
            .map(|(_, target)| target)
            .collect();
        let (fates, assumed) = ask(filters, &self.viewpoint, &judged)?;
        let mut comparison = Comparison::new(egress, subject, fates);
        comparison.notes.extend(assumed);
        if let Some(container) = &self.viewpoint.container {
            comparison.notes.push("Whether the container can ask a resolver was not judged: Docker's own answers from the host.".to_owned());
            comparison.notes.push(format!(
                "The flows are forwarded for {}, and come in by {}.",
                container.addresses(),
                container.way_in(filters)
            ));
        }
        if !filters.in_force {
            comparison.notes.push(
                "This does not check whether the file is complete or is what the system has loaded."
                    .to_owned(),
            );
        }
        Ok(comparison)
    }

    fn by_lists(&self, egress: &Egress, lists: &Lists) -> Comparison {
        let subject = Subject {
            what: lists.forms.iter().map(|form| (*form).to_owned()).collect(),
            in_force: false,
            judges_dns: lists.is_table && (self.closed || lists.lists_resolvers),
            needs_resolvers: false,
        };
        let fate = |target: &Target<'_>| {
            if target.address.is_loopback() {
                Fate::Exempt
            } else {
                lists.fate(target)
            }
        };
        let judged: Vec<_> = targets(egress, &subject)
            .into_iter()
            .map(|(_, target)| target)
            .collect();
        let fates: Vec<_> = judged.iter().map(fate).collect();
        let is_exempt = |fate: &Fate, target: &Target<'_>| {
            *fate == Fate::Exempt && !target.address.is_loopback()
        };
        let exempt = fates
            .iter()
            .zip(&judged)
            .any(|(fate, target)| is_exempt(fate, target));
        let mut comparison = Comparison::new(egress, subject, fates);
        if exempt {
            comparison.notes.push("IPv6 was not judged: the list has no entry for it, as it is in a VPC without IPv6.".to_owned());
        }
        comparison.superfluous = lists.superfluous(egress);
        match lists.lets_pods_ask {
            Some(true) => comparison
                .notes
                .push("DNS inside the cluster is let out.".to_owned()),
            Some(false) => {
                comparison.lacks_dns = true;
                comparison
                    .notes
                    .push("No rule lets the pods ask a resolver (UDP 53).".to_owned());
            }
            None if comparison.subject.judges_dns => {}
            None => comparison.notes.push(
                "Whether resolvers can be reached was not judged: the list is not for this host."
                    .to_owned(),
            ),
        }
        comparison.notes.push(
            "This does not check whether the file is complete or is what the system has loaded."
                .to_owned(),
        );
        comparison
    }

    /// The lines are compared; the kernel judges as well, if the file is a whole packet filter.
    fn own(&self, egress: &Egress, printed: &Printed, reprint: &Reprint) -> Comparison {
        let Reprint {
            dialect, lockdown, ..
        } = reprint;
        let render = |egress: &Egress| match &reprint.container {
            Some(container) => container.render(*dialect, egress, lockdown.is_some()),
            None => dialect.render(egress, lockdown.as_ref()),
        };
        let mut required = reprint.egress.clone();
        // The resolvers of this workstation are not those of other machines.
        let counts = |purpose| purpose != Purpose::Dns || dialect.is_for_this_host();
        required
            .entries
            .retain(|e| e.requirement == Requirement::Required && counts(e.purpose));
        let difference =
            Difference::between(&printed.text, &render(&reprint.egress), &render(&required));
        let filters = loadable(printed, *dialect)
            .filter(|_| lockdown.is_some() && reprint.container.is_none());
        let mut subject = Subject {
            what: vec![format!(
                "a file that tunnelcheck {} printed: {}",
                printed.version,
                dialect.as_str()
            )],
            in_force: false,
            judges_dns: filters.is_some(),
            needs_resolvers: false,
        };
        let mut judged = None;
        if let Some(filters) = &filters {
            let all: Vec<_> = targets(egress, &subject)
                .into_iter()
                .map(|(_, target)| target)
                .collect();
            judged = ask(filters, &self.viewpoint, &all).ok();
        }
        subject.judges_dns = judged.is_some();
        let covers = |target: &Target<'_>| {
            let same = |e: &&_| covers(e, target);
            reprint.egress.entries.iter().find(same).is_some()
        };
        let by_options = || {
            let fate = |target: &Target<'_>| {
                if covers(target) {
                    return Fate::Open;
                }
                let options = printed.options.join(" ");
                Fate::Missing(Some(format!("the file was printed for `{options}`")))
            };
            targets(egress, &subject)
                .iter()
                .map(|(_, target)| fate(target))
                .collect()
        };
        let lines_decide = judged.is_none() && reprint.knows_all_hosts;
        let (fates, assumed) = judged.unwrap_or_else(|| (by_options(), Vec::new()));
        let mut comparison = Comparison::new(egress, subject, fates);
        comparison.notes.extend(assumed);
        comparison.difference = Some(difference);
        comparison.lines_decide = lines_decide;
        if printed.version != env!("CARGO_PKG_VERSION") {
            comparison.notes.push(format!(
                "Another version ({}) printed the file; its lines may differ for that reason.",
                printed.version
            ));
        }
        comparison
    }
}

fn covers(entry: &crate::rules::Entry, target: &Target<'_>) -> bool {
    (entry.transport, entry.port) == (target.transport, target.port)
        && entry
            .addresses
            .iter()
            .any(|address| address.ip == target.address)
}

/// What a tool loads of a file that this program printed; none for other firewalls than nftables and iptables.
fn loadable(printed: &Printed, dialect: Dialect) -> Option<Filters> {
    let part = |format, text| Filter {
        name: "the file".to_owned(),
        format,
        text,
    };
    let parts = match dialect {
        Dialect::Nftables => vec![part(FilterFormat::Nft, printed.text.clone())],
        Dialect::Iptables => {
            let block = |name: &str| {
                let begin = printed
                    .text
                    .find(&format!("{name}() {{\ncat <<'RULES'\n"))?;
                let before = printed.text[..begin].lines().count() + 2;
                let (block, _) = printed.text[begin..].split_once("\nRULES\n")?;
                let rules = block.splitn(3, '\n').nth(2)?;
                Some("\n".repeat(before) + rules + "\n")
            };
            vec![
                part(FilterFormat::Iptables, block("rules4")?),
                part(FilterFormat::Ip6tables, block("rules6")?),
            ]
        }
        _ => return None,
    };
    Some(Filters {
        parts,
        in_force: false,
    })
}

impl Container {
    /// The addresses, for a sentence.
    #[must_use]
    pub fn addresses(&self) -> String {
        let both = [
            self.ipv4.map(|ip| ip.to_string()),
            self.ipv6.map(|ip| ip.to_string()),
        ];
        both.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    /// The interface by which its packets come in: the one that the rules masquerade its network behind,
    /// or this host's own, or Docker's usual one.
    #[must_use]
    pub fn way_in(&self, filters: &Filters) -> String {
        let named = filters
            .parts
            .iter()
            .flat_map(|part| part.text.lines())
            .find_map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let holds = |word: &&str| {
                    let network = Cidr::covering(word);
                    network.is_some_and(|network| {
                        self.ipv4.is_some_and(|ip| network.contains(ip.into()))
                            && !network.is_everything()
                    })
                };
                let masquerades =
                    line.to_ascii_lowercase().contains("masquerade") && words.iter().any(holds);
                let at = words
                    .iter()
                    .position(|word| ["-o", "oifname"].contains(word))?;
                let name = words[at + 1..].iter().find(|word| **word != "!=")?;
                masquerades.then(|| name.trim_matches('"').to_owned())
            });
        named
            .or_else(|| self.bridge.clone())
            .unwrap_or_else(|| "docker0".to_owned())
    }
}

#[cfg(target_os = "linux")]
fn ask(
    filters: &Filters,
    viewpoint: &Viewpoint,
    targets: &[Target<'_>],
) -> Result<(Vec<Fate>, Vec<String>), String> {
    super::kernel::judge(filters, viewpoint, targets).map_err(|why| why.to_string())
}

#[cfg(not(target_os = "linux"))]
fn ask(_: &Filters, _: &Viewpoint, _: &[Target<'_>]) -> Result<(Vec<Fate>, Vec<String>), String> {
    Err("rules of nftables and iptables are judged by the kernel: compare them on Linux".to_owned())
}
