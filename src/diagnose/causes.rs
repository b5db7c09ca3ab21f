//! PURE: what stands behind a cause, in words, and what would tell two possible causes apart.

use std::collections::BTreeMap;

use super::JudgedRow;
use super::experiment_words::{experiments, without_success};
use super::own_rules;
use super::platform::Platform;
use crate::catalog;
use crate::model::{
    Attempt, Cause, ContactFailure, HandshakeFailure, IcmpError, Outcome, Profile, Role, Service,
    UntrustedChain,
};

/// What the evidence for a cause says in words, with what is known of this host's own rules.
pub(super) fn detail(cause: Cause, row: &JudgedRow, platform: Platform) -> String {
    let text = evidence(cause, row, platform);
    let note = match cause {
        Cause::LocalFirewall => own_rules::words(row),
        _ => own_rules::note(row),
    };
    match (text, note) {
        (Some(text), Some(note)) => format!("{text}; {note}"),
        (None, Some(note)) => note,
        (text, None) => text.unwrap_or_else(|| cause.to_string()),
    }
}

fn evidence(cause: Cause, row: &JudgedRow, platform: Platform) -> Option<String> {
    match cause {
        Cause::Dropped => Some(dropped(row, platform)),
        Cause::Reset if own_rules::all_pass(row) => Some(
            "a TCP reset answered the SYN. This host's own rules let it out, so a firewall on the way or \
             the other side itself sent it"
                .to_owned(),
        ),
        Cause::Rejected => rejections(row, platform),
        Cause::Reset => Some(reset_words(platform)),
        Cause::LocalFirewall => local_refusal(row),
        Cause::NoRoute => first(row, |outcome| match outcome {
            Outcome::Unanswered {
                failure: ContactFailure::NoRoute { error },
            } => Some(format!("this host's routing table: {error}")),
            _ => None,
        }),
        Cause::TlsIntercepted => chains(row).first().map(|chain| describe_chain(chain)),
        Cause::Interrupted => interrupted(row),
        Cause::NotTheEdge => first(row, foreign),
        Cause::SniFiltered => sni_filtered(row),
        Cause::QuicFiltered => Some(quic_filtered(row)),
        Cause::LargeHelloDropped => large_hello_dropped(row),
        Cause::Mtu => small_datagrams_pass(row).or_else(|| too_big(row)),
        Cause::Unknown if refuses_post_quantum(row) => Some(post_quantum_refused(row)),
        Cause::Dns | Cause::Unknown => first(row, other_error),
    }
}

fn reset_words(platform: Platform) -> String {
    let own = platform.pick(
        " (`nft list ruleset` shows this host's)",
        ", and so does a port that an ICMP error calls unreachable",
    );
    format!(
        "a TCP reset answered the SYN; a firewall on this host, one on the way and the other side \
         itself look the same here{own}"
    )
}

fn dropped(row: &JudgedRow, platform: Platform) -> String {
    let nothing = match row.target.service {
        Service::Quic => platform.pick(
            "no reply, no ICMP, no error",
            "no reply, no error (Windows reports only ICMP port unreachable)",
        ),
        Service::Http2 | Service::Https if own_rules::all_pass(row) => {
            return "no reply, no ICMP, no reset; this host's own rules let it out".to_owned();
        }
        Service::Http2 | Service::Https => {
            let own = platform.pick(
                "a rule on this host's own OUTPUT chain looks the same (`nft list ruleset` shows it)",
                "a security product on this host that drops without an error looks the same, its own \
                 log shows it",
            );
            return format!("no reply, no ICMP, no reset; {own}");
        }
    };
    let experiments = without_success(row);
    let in_vain = if experiments.is_empty() {
        String::new()
    } else {
        format!(", and none to {}", experiments.join(", "))
    };
    format!(
        "{nothing}{in_vain}. A drop rule for UDP, for the port or for QUIC long headers looks the same; \
         the firewall's counters show which"
    )
}

/// How the first flight ends on the blocked addresses, as a rule: `goes silent`, `is reset`, …
fn tunnel_fails(row: &JudgedRow) -> Option<&'static str> {
    let by_name = row.verdict.cut_name == Some(Role::Tunnel);
    let blocked: Vec<_> = row.verdict.blocked().collect();
    let told = row.attempts.iter().filter(|attempt| {
        let concerned = match attempt.role {
            Role::Tunnel => true,
            Role::Probe => !by_name,
            Role::Documented | Role::Experiment(_) => false,
        };
        concerned && !attempt.passed() && blocked.contains(&attempt.address)
    });
    let mut ways = BTreeMap::<(bool, &str), usize>::new();
    for (answered, way) in told.filter_map(way_to_fail) {
        *ways.entry((answered, way)).or_default() += 1;
    }
    // What happened after an answer tells more than a packet that was lost before.
    let most = ways
        .into_iter()
        .max_by_key(|((answered, _), count)| (*answered, *count));
    most.map(|((_, way), _)| way)
}

/// Whether an attempt was answered, and how it ended.
fn way_to_fail(attempt: &Attempt) -> Option<(bool, &'static str)> {
    let failure = match &attempt.outcome {
        Outcome::Secured { .. } | Outcome::Abandoned => return None,
        Outcome::Unanswered { .. } => return Some((false, "goes unanswered")),
        Outcome::Unsecured { failure } => failure,
    };
    let way = match failure {
        HandshakeFailure::Reset => "is reset",
        HandshakeFailure::Closed => "is closed",
        HandshakeFailure::Alert { .. } => "is refused with an alert",
        HandshakeFailure::Refused { .. } => "is refused",
        HandshakeFailure::Silent if !attempt.stray.is_empty() => "goes silent after an ICMP error",
        _ => "goes silent",
    };
    Some((true, way))
}

fn sni_filtered(row: &JudgedRow) -> Option<String> {
    let how = tunnel_fails(row)?;
    let other = if row.verdict.probe_passes {
        catalog::PROBE_SNI
    } else {
        catalog::CONTROL_SNI
    };
    let sni = row.target.deciding_sni();
    Some(format!(
        "a handshake with {sni} {how}, one with {other} passes at the same address"
    ))
}

/// Whether `--post-quantum` is what fails here: the other side asks for a key exchange that is not
/// offered then, or refuses the hello and takes a classical one.
pub(super) fn refuses_post_quantum(row: &JudgedRow) -> bool {
    let asked = |a: &Attempt| !a.profile.is_experiment() && asks_for_another_group(a);
    row.target.post_quantum
        && row.verdict.cause == Some(Cause::Unknown)
        && (experiments(row).prove_a_refusal() || row.attempts.iter().any(asked))
}

const fn asks_for_another_group(attempt: &Attempt) -> bool {
    matches!(
        attempt.outcome,
        Outcome::Unsecured {
            failure: HandshakeFailure::GroupNotOffered { .. }
        }
    )
}

fn post_quantum_refused(row: &JudgedRow) -> String {
    let hello = "with --post-quantum the ClientHello offers X25519MLKEM768 only";
    if row.attempts.iter().any(asks_for_another_group) {
        return format!("{hello}, and a HelloRetryRequest asks for another key exchange");
    }
    let how = first(row, foreign).unwrap_or_else(|| "the handshake is refused".to_owned());
    format!("{hello}, and {how}; a classical one passes at the same address")
}

fn quic_filtered(row: &JudgedRow) -> String {
    let answer = if experiments(row).has_passed(Profile::VersionPing) {
        "a QUIC server answers an unknown version with Version Negotiation"
    } else {
        "something answers over UDP"
    };
    format!(
        "{answer}, and no handshake completes; a filter that reads the handshake or a server with another \
         QUIC version looks the same. A run from another network shows which"
    )
}

fn large_hello_dropped(row: &JudgedRow) -> Option<String> {
    let how = tunnel_fails(row)?;
    let small = if experiments(row).has_passed(Profile::SmallHello) {
        ", a classical one that fits into one packet passes"
    } else {
        ""
    };
    let segments = match row.target.service {
        Service::Quic => "",
        _ if loses_segments(row) && how.ends_with("ICMP error") => {
            ", and cloudflared's passes in segments of 1000 bytes: something on the path refuses large \
             segments"
        }
        _ if loses_segments(row) => {
            ", and cloudflared's passes in segments of 1000 bytes: the path loses large segments, like one \
             with a smaller MTU and filtered ICMP errors"
        }
        _ if experiments(row).result(Profile::SmallPackets).is_none() => {
            "; smaller segments, which would show whether the path loses large ones or something reads it, \
             were not tried"
        }
        _ => ", and cloudflared's does not pass in smaller segments either: something reads it",
    };
    Some(format!(
        "cloudflared's ClientHello, which takes two packets, {how}{small}{segments}"
    ))
}

/// Whether the large hello passes in smaller segments.
pub(super) fn loses_segments(row: &JudgedRow) -> bool {
    row.target.service == Service::Http2 && experiments(row).has_passed(Profile::SmallPackets)
}

fn small_datagrams_pass(row: &JudgedRow) -> Option<String> {
    if !experiments(row).has_passed(Profile::SmallPackets) {
        return None;
    }
    let size = row.target.datagram_size;
    let icmp = too_big(row).map_or_else(
        || "; no ICMP error says so".to_owned(),
        |icmp| format!("; {icmp}"),
    );
    Some(format!(
        "datagrams of {size} bytes go unanswered, those of {} are answered{icmp}",
        catalog::SMALLEST_INITIAL
    ))
}

fn too_big(row: &JudgedRow) -> Option<String> {
    let stray = row.attempts.iter().flat_map(|a| &a.stray);
    let by_icmp = stray
        .filter_map(|stray| stray.icmp.as_ref())
        .find(|icmp| icmp.is_too_big());
    let said = by_icmp.map(|icmp| match icmp.mtu {
        Some(mtu) => format!("{icmp}, which leaves {mtu} bytes for a packet"),
        None => icmp.to_string(),
    });
    said.or_else(|| {
        first(row, |outcome| match outcome {
            Outcome::Unanswered {
                failure: ContactFailure::Icmp { icmp },
            } => Some(icmp.to_string()),
            Outcome::Unanswered {
                failure: ContactFailure::TooBig { error },
            } => Some(format!(
                "larger than the interface or the path carries: {error}"
            )),
            _ => None,
        })
    })
}

/// Which ICMP errors came back from whom.
pub(super) fn icmp_errors(row: &JudgedRow) -> Vec<(IcmpError, usize)> {
    let mut counts: Vec<(IcmpError, usize)> = Vec::new();
    let mut count = |icmp: &IcmpError| match counts.iter_mut().find(|(seen, _)| seen == icmp) {
        Some((_, n)) => *n += 1,
        None => counts.push((icmp.clone(), 1)),
    };
    for attempt in &row.attempts {
        let remote = attempt
            .stray
            .iter()
            .filter(|s| !s.local)
            .filter_map(|s| s.icmp.as_ref());
        if let Outcome::Unanswered {
            failure: ContactFailure::Icmp { icmp },
        } = &attempt.outcome
            && attempt.stray.is_empty()
        {
            count(icmp);
        }
        remote.for_each(&mut count);
    }
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts
}

fn rejections(row: &JudgedRow, platform: Platform) -> Option<String> {
    let errors = icmp_errors(row);
    let own = |icmp: &IcmpError| match icmp.from {
        Some(from) if row.target.addresses.contains(&from) => {
            ", the destination's own address, which a firewall on the way can use"
        }
        None => platform.pick(
            "",
            " by its error number; Windows does not report the sender",
        ),
        Some(_) => "",
    };
    let text: Vec<_> = errors
        .iter()
        .map(|(icmp, n)| format!("{icmp}{}, {n} seen", own(icmp)))
        .collect();
    (!text.is_empty()).then(|| text.join("; "))
}

fn local_refusal(row: &JudgedRow) -> Option<String> {
    first(row, |outcome| match outcome {
        Outcome::Unanswered {
            failure: ContactFailure::LocalFirewall { error, icmp },
        } => {
            let by = icmp
                .as_ref()
                .map_or_else(String::new, |icmp| format!("; {icmp}, this host itself"));
            Some(format!("this host refused to send: {error}{by}"))
        }
        _ => None,
    })
}

fn interrupted(row: &JudgedRow) -> Option<String> {
    let how = tunnel_fails(row)?;
    let alike = match without_success(row) {
        experiments if experiments.is_empty() => String::new(),
        experiments => format!("; so does it with {}", experiments.join(", ")),
    };
    Some(format!(
        "TCP connects, then the flow {how} during the TLS handshake{alike}"
    ))
}

fn foreign(outcome: &Outcome) -> Option<String> {
    let Outcome::Unsecured { failure } = outcome else {
        return None;
    };
    match failure {
        HandshakeFailure::NotTls {
            http_status: Some(status),
            location,
            ..
        } => {
            let to = location
                .as_ref()
                .map_or_else(String::new, |l| format!(" with Location {l}"));
            Some(format!("plain HTTP answers: status {status}{to}"))
        }
        HandshakeFailure::NotTls { received, .. } => {
            Some(format!("what answers is plain: {received}"))
        }
        HandshakeFailure::WrongAlpn => {
            Some("a server without the tunnel's application protocol (ALPN) answers".to_owned())
        }
        HandshakeFailure::Alert { alert } => {
            Some(format!("a TLS alert refuses the handshake: {alert}"))
        }
        HandshakeFailure::Refused { error } => {
            Some(format!("a QUIC server refuses the handshake: {error}"))
        }
        _ => None,
    }
}

fn other_error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Unanswered {
            failure: ContactFailure::Other { error },
        } => Some(error.to_string()),
        Outcome::Unsecured {
            failure: HandshakeFailure::Other { error },
        } => Some(error.clone()),
        _ => None,
    }
}

fn first(row: &JudgedRow, tell: impl Fn(&Outcome) -> Option<String>) -> Option<String> {
    let plain = |a: &&Attempt| !a.profile.is_experiment();
    row.attempts
        .iter()
        .filter(plain)
        .find_map(|attempt| tell(&attempt.outcome))
}

/// The untrusted chains that the row was shown.
pub(super) fn chains(row: &JudgedRow) -> Vec<&UntrustedChain> {
    row.attempts.iter().filter_map(untrusted).collect()
}

fn untrusted(attempt: &Attempt) -> Option<&UntrustedChain> {
    match &attempt.outcome {
        Outcome::Unsecured {
            failure: HandshakeFailure::Untrusted { chain },
        } => Some(chain),
        _ => None,
    }
}

fn describe_chain(chain: &UntrustedChain) -> String {
    let above = if chain.above.is_empty() {
        "nothing above it is presented".to_owned()
    } else {
        format!("above it are presented: {}", chain.above.join("; "))
    };
    let validity = match (&chain.not_before, &chain.not_after) {
        (Some(from), Some(to)) if chain.kind.is_about_time() => {
            format!(", valid from {from} to {to}")
        }
        _ => String::new(),
    };
    format!(
        "the certificate for {} was issued by {}{validity} ({}); {above}",
        chain.subject, chain.issuer, chain.reason
    )
}
