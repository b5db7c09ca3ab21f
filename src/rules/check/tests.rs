//! Lists, policies, tables and printed files, each with what is right about it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::filters::{FilterFormat, Filters};
use super::*;
use crate::model::{ExitStatus, Transport};
use crate::rules::{Dialect, Egress, hostile, samples};

fn target(address: &str, transport: Transport) -> Target<'_> {
    Target {
        host: "region1.v2.argotunnel.com",
        address: address.parse().unwrap(),
        transport,
        port: 7844,
    }
}

fn given(text: &str) -> Result<Given, Refused> {
    read(&[("rules".to_owned(), text.as_bytes().to_vec())])
}

/// What a list does with TCP 7844 to an address of the first region.
fn fate_of(text: &str) -> &'static str {
    match given(text) {
        Ok(Given::Lists(lists)) => match lists.fate(&target("198.41.192.7", Transport::Tcp)) {
            Fate::Open => "open",
            Fate::Missing(_) => "missing",
            Fate::Closed(_) => "closed",
            Fate::NotInFile(_) => "not in the file",
            Fate::Unclear(_) | Fate::Conditional(_) => "unclear",
            Fate::Exempt => "exempt",
        },
        _ => "refused",
    }
}

/// Rules of all kinds, each with what they do with TCP 7844 to 198.41.192.7.
#[test]
fn lists_do_what_their_clouds_do() {
    let cases: BTreeMap<String, Vec<(String, Value)>> =
        serde_saphyr::from_str(include_str!("cases.yaml")).unwrap();
    let mut wrong = Vec::new();
    for (kind, cases) in &cases {
        for (expected, rules) in cases {
            let text = rules
                .as_str()
                .map_or_else(|| rules.to_string(), str::to_owned);
            let found = fate_of(&text);
            if found != expected {
                wrong.push(format!("{kind}: {found}, not {expected}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.values().map(Vec::len).sum::<usize>() > 60);
}

fn policy(egress: &str) -> String {
    format!(
        "kind: NetworkPolicy\nmetadata: {{ name: p, namespace: a }}\nspec: {{podSelector: {{}}, policyTypes: [Egress], egress: {egress}}}\n"
    )
}

#[test]
fn pods_have_to_be_able_to_ask() {
    for (egress, asks) in [
        ("[{}]", true),
        ("[{ports: [{port: 53, protocol: UDP}]}]", true),
        ("[{ports: [{port: 53}, {port: 7844}]}]", false),
    ] {
        let Ok(Given::Lists(lists)) = given(&policy(egress)) else {
            panic!("{egress}")
        };
        assert_eq!(lists.lets_pods_ask, Some(asks), "{egress}");
    }
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = String::from("kind: NetworkPolicy\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let alias = format!("*a{},", level - 1).repeat(10);
        let line = format!("a{level}: &a{level} [{alias}]\n");
        text.push_str(&line);
    }
    let refused = given(&text).unwrap_err();
    assert!(
        refused.why.contains("is not YAML that can be read"),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_judged_is_refused_with_what_to_give_instead() {
    for (text, remedy) in [
        (
            "#!/bin/sh\niptables -A OUTPUT -j DROP\n",
            "give `nft list ruleset`",
        ),
        ("ufw allow out 7844\n", "without a file"),
        ("<policy target=\"DROP\"/>\n", "without a file"),
        (
            "New-NetFirewallRule -Direction Outbound\n",
            "only a file that tunnelcheck printed",
        ),
        (
            "pass out quick proto tcp to any port 7844\n",
            "only a file that tunnelcheck printed",
        ),
        (
            "table <edge> { 198.41.192.7 }\n",
            "only a file that tunnelcheck printed",
        ),
        (
            "aws ec2 authorize-security-group-egress\n",
            "aws ec2 describe-security-groups",
        ),
        (
            "resource \"aws_security_group\" \"x\" {}\n",
            "terraform show -json",
        ),
        ("{\"nftables\": []}", "without --json"),
        (
            "198.41.192.0/24 tcp/7844\n",
            "is of a form that is not known",
        ),
        ("[]", "is an empty list"),
        ("{\"a\": 1}", "a form that is not known"),
        ("", "is empty"),
        ("kind: Deployment\n", "holds no NetworkPolicy"),
        (
            "{\"SecurityGroups\": [{\"GroupId\": 7, \"IpPermissionsEgress\": []}]}",
            "give its list as it is",
        ),
    ] {
        let refused = given(text).unwrap_err();
        assert!(
            refused.why.contains(remedy) && !refused.why.contains('\n'),
            "{text}: {refused}"
        );
    }
    let binary = read(&[("x".to_owned(), b"\x7fELF\0".to_vec())]).unwrap_err();
    assert!(binary.why.contains("is not a text file"));
    let two = [policy("[{}]"), "table inet x {}\n".to_owned()];
    let two = two.map(|text| ("x".to_owned(), text.into_bytes()));
    assert!(read(&two).unwrap_err().why.contains("another kind"));
}

#[test]
fn a_stream_is_taken_apart_by_its_tools() {
    let text = "# Generated by iptables-save\n*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n\
                # Generated by ip6tables-save\n*filter\n:OUTPUT DROP [0:0]\nCOMMIT\ntable inet x {\n}\n\
                table ip filter {\n\tchain OUTPUT {\n\t}\n}\ntable ip nat {\n}\n";
    let Ok(Given::Filters(Filters { parts, .. })) = given(text) else {
        panic!()
    };
    let found: Vec<_> = parts.iter().map(|part| part.format).collect();
    assert_eq!(
        found,
        [
            FilterFormat::Nft,
            FilterFormat::Iptables,
            FilterFormat::Ip6tables
        ]
    );
    let lines = |at: usize| -> Vec<_> {
        let lines = parts[at].text.lines().enumerate();
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(number, line)| (number + 1, line))
            .collect()
    };
    // What iptables has saved is left out of what nft lists, and lines keep their numbers.
    let nft = lines(0);
    assert!(nft.contains(&(9, "table inet x {")) && nft.contains(&(15, "table ip nat {")));
    assert!(
        nft.iter()
            .all(|(_, line)| !line.contains("table ip filter"))
    );
    assert_eq!(lines(1)[0], (2, "*filter"));
    assert_eq!(lines(2)[0], (6, "*filter"));
    // Without a comment the addresses tell, then the name of the file.
    for (name, rule, format) in [
        (
            "x",
            "-A OUTPUT -d 2001:db8::/32 -j ACCEPT",
            FilterFormat::Ip6tables,
        ),
        (
            "rules.v6",
            "-A OUTPUT -d 192.0.2.0/24 -j ACCEPT",
            FilterFormat::Iptables,
        ),
        ("rules.v6", "-A OUTPUT -j ACCEPT", FilterFormat::Ip6tables),
        ("rules", "-A OUTPUT -j ACCEPT", FilterFormat::Iptables),
    ] {
        let text = format!("*filter\n:OUTPUT DROP [0:0]\n{rule}\nCOMMIT\n");
        assert_eq!(
            Filters::of(name, &text).unwrap()[0].format,
            format,
            "{name} {rule}"
        );
    }
}

fn reprint(dialect: Dialect, egress: &Egress, closed: bool) -> Reprint {
    Reprint {
        dialect,
        container: None,
        egress: egress.clone(),
        lockdown: closed.then(samples::lockdown),
        knows_all_hosts: true,
    }
}

/// What comes of a file that was printed for one world when it is compared in another.
fn compared(file: &str, dialect: Dialect, today: &Egress, closed: bool) -> Comparison {
    let given = given(file).unwrap_or_else(|why| panic!("{why}\n{file}"));
    let check = Check {
        given,
        viewpoint: Viewpoint::default(),
        closed,
    };
    check
        .run(today, Some(&reprint(dialect, today, closed)))
        .unwrap()
}

/// The kernel judges as well where files are whole packet filters: the laboratory tries those.
fn printed_cases() -> impl Iterator<Item = (Dialect, bool)> {
    let all = Dialect::ALL.iter();
    all.flat_map(|dialect| [false, true].map(|closed| (*dialect, closed)))
        .filter(|(dialect, closed)| {
            !closed || !matches!(dialect, Dialect::Nftables | Dialect::Iptables)
        })
}

#[test]
fn a_fresh_file_is_what_would_be_printed() {
    for egress in [samples::whole(), samples::drifted(), hostile::egress()] {
        for (dialect, closed) in printed_cases() {
            let file = dialect.render(&egress, closed.then(samples::lockdown).as_ref());
            for file in [
                file.replace("2026-01-02", "2025-06-07"),
                file.replace('\n', "\r\n"),
            ] {
                let comparison = compared(&file, dialect, &egress, closed);
                assert_eq!(
                    comparison.status(),
                    ExitStatus::Ready,
                    "{dialect:?}\n{comparison}"
                );
                let none = comparison
                    .difference
                    .is_none_or(|difference| difference.is_none());
                assert!(none, "{dialect:?} {closed}");
            }
        }
    }
}

#[test]
fn what_is_missing_from_a_printed_file_is_told_from_what_is_too_much() {
    let whole = samples::whole();
    let mut fewer = whole.clone();
    for entry in &mut fewer.entries {
        entry
            .addresses
            .retain(|address| address.ip.to_string() != "198.41.192.27");
    }
    let mut optional = whole.clone();
    for entry in optional.entries.iter_mut().filter(|e| e.port == 443) {
        entry.addresses.retain(|address| address.ip.is_ipv6());
    }
    for (dialect, closed) in printed_cases() {
        let print =
            |egress: &Egress| dialect.render(egress, closed.then(samples::lockdown).as_ref());
        let lacking = compared(&print(&fewer), dialect, &whole, closed);
        assert_eq!(
            lacking.status(),
            ExitStatus::Blocked,
            "{dialect:?} {closed}\n{lacking}"
        );
        let lacking = compared(&print(&optional), dialect, &whole, closed);
        assert_eq!(
            lacking.status(),
            ExitStatus::Ready,
            "{dialect:?} {closed}\n{lacking}"
        );
        let text = print(&whole);
        let Ok(Given::Own(printed)) = given(&text) else {
            continue;
        };
        assert!(
            printed
                .options
                .starts_with(&["--format".to_owned(), dialect.as_str().to_owned()])
        );
        // A line of somebody else's may close what ours open.
        let strange = compared(
            &format!("{text}\nsomething else\n"),
            dialect,
            &whole,
            closed,
        );
        assert_eq!(
            strange.status(),
            ExitStatus::Blocked,
            "{dialect:?} {closed}"
        );
        assert!(
            strange.to_string().contains("  - something else (line "),
            "{strange}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_printed_is_recognised_and_fresh(egress in hostile::any_egress()) {
        for (dialect, closed) in printed_cases().filter(|(dialect, _)| *dialect != Dialect::Csv) {
            let file = dialect.render(&egress, closed.then(samples::lockdown).as_ref());
            let comparison = compared(&file, dialect, &egress, closed);
            prop_assert!(comparison.difference.is_some_and(|difference| difference.is_none()), "{:?}", dialect);
        }
    }
}

proptest! {
    #[test]
    fn no_text_is_misread_or_panics(text in "[\\PC\n]{0,200}|(\\*filter\n|COMMIT\n|table ip x \\{\n|\\}\n|kind: NetworkPolicy\n|spec: \\{\\}\n|[a-z ]{0,8}\n){0,12}") {
        let _ = given(&text);
    }
}
