//! What every rule file begins with: what it is, how to apply it, and when it is out of date.

use super::lockdown::{Lockdown, Sources};
use super::text::{command, comment};
use super::{Dialect, Egress, Today};
use crate::model::Family;

/// A line of advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Advice {
    /// A sentence or more, to be wrapped.
    Text(String),
    /// A command line, to be copied.
    Command(String),
}

/// For rules that firewalld knows nothing of.
pub(super) const BESIDE_FIREWALLD: &str = "If firewalld runs (`firewall-cmd --state`), it loads its own \
                                           rules at boot and at each reload, and what it drops stays \
                                           dropped. In that case use --format firewalld, or first run \
                                           `systemctl disable --now firewalld`.";

impl Advice {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn command(line: &str) -> Self {
        Self::Command(line.to_owned())
    }
}

/// What a dialect adds to the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What the file is, as the end of a sentence: "for `nft -f`".
    pub(super) what: &'static str,
    /// What the rules do and do not touch, and how to apply them.
    pub(super) apply: Vec<Advice>,
    /// How to keep them over a restart.
    pub(super) permanent: Vec<Advice>,
}

/// The header as comments behind `prefix`, such as `# `.
pub(super) fn header(
    prefix: &str,
    dialect: Dialect,
    words: &Words,
    egress: &Egress,
    lockdown: Option<&Lockdown>,
) -> String {
    let mut text = String::new();
    let mut paragraph = |advice: &[Advice]| {
        for one in advice {
            text.push_str(&match one {
                Advice::Text(sentence) => comment(prefix, sentence),
                Advice::Command(line) => command(prefix, line),
            });
        }
        text.push_str(&comment(prefix, ""));
    };
    paragraph(&opening(dialect, words, egress, lockdown));
    for note in egress.notes.iter().chain(&egress.without_a_rule) {
        paragraph(&[Advice::Text(format!("Note: {note}"))]);
    }
    if let Some(lockdown) = lockdown {
        paragraph(&ssh(dialect, lockdown));
    }
    paragraph(&[&[Advice::text("To apply:")], &words.apply[..]].concat());
    paragraph(
        &[
            &[Advice::text("To keep it over a restart:")],
            &words.permanent[..],
        ]
        .concat(),
    );
    paragraph(&refresh(dialect, egress, lockdown));
    text
}

/// The command that makes such a file.
fn invocation(dialect: Dialect, egress: &Egress, lockdown: Option<&Lockdown>) -> String {
    let mut words = vec![
        "tunnelcheck rules --format".to_owned(),
        dialect.as_str().to_owned(),
    ];
    words.extend(egress.arguments.iter().cloned());
    if let Some(lockdown) = lockdown {
        words.push("--lockdown".to_owned());
        let ports = lockdown.ssh.ports.iter();
        words.extend(ports.map(|port| format!("--ssh-port {port}")));
        let from = lockdown.ssh.from.iter();
        words.extend(from.map(|cidr| format!("--ssh-from {cidr}")));
    }
    words.join(" ")
}

fn opening(
    dialect: Dialect,
    words: &Words,
    egress: &Egress,
    lockdown: Option<&Lockdown>,
) -> Vec<Advice> {
    let purpose = if lockdown.is_some() {
        "Lock-down: this host lets in SSH and lets out only what cloudflared and the host itself need"
    } else {
        "Rules that let cloudflared out, for a firewall that blocks outbound traffic"
    };
    let offline = match egress.today {
        Today::NotAsked => " --offline",
        Today::Known | Today::NotTold => "",
    };
    vec![
        Advice::Text(format!("{purpose}; {}.", words.what)),
        Advice::Text(format!(
            "Made {} by tunnelcheck {} with:",
            egress.surroundings.made_at,
            env!("CARGO_PKG_VERSION")
        )),
        Advice::Command(invocation(dialect, egress, lockdown) + offline),
    ]
}

fn ssh(dialect: Dialect, lockdown: &Lockdown) -> Vec<Advice> {
    let ssh = &lockdown.ssh;
    let ports: Vec<_> = ssh.ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(", ");
    let from = match ssh.from.as_slice() {
        [] => "from everywhere; restrict it with --ssh-from NETWORK".to_owned(),
        some => {
            let some: Vec<_> = some.iter().map(ToString::to_string).collect();
            format!("from {}", some.join(", "))
        }
    };
    let mut advice = vec![Advice::Text(format!(
        "SSH stays open on port {ports}, {from}."
    ))];
    advice.push(Advice::Text(match ssh.session {
        Some(session) => format!(
            "This session comes from {} to port {}.",
            session.peer, session.port
        ),
        None if dialect.is_for_this_host() && ssh.guessed => "No SSH session was found, neither in \
                                                              SSH_CONNECTION nor in the processes around \
                                                              this one. If sshd listens on another port, \
                                                              give it with --ssh-port, or this locks you \
                                                              out.".to_owned(),
        None => "No SSH session was found, so it was not checked whether this is how you log in.".to_owned(),
    }));
    for family in Family::BOTH {
        if ssh.sources(family) == Sources::Nobody {
            advice.push(Advice::Text(format!("No one can come in over {family}.")));
        }
    }
    advice
}

fn refresh(dialect: Dialect, egress: &Egress, lockdown: Option<&Lockdown>) -> Vec<Advice> {
    vec![
        Advice::text(
            "A packet filter matches addresses, not names: when the addresses of a name change, these \
             rules must change too. To check:",
        ),
        Advice::Command(format!(
            "{} --check-drift FILE",
            invocation(dialect, egress, lockdown)
        )),
    ]
}
