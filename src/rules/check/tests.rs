//! Lists, policies, tables and printed files, each with what is right about it.

use clap::ValueEnum;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::filters::{FilterFormat, Filters};
use super::*;
use crate::exit::ExitStatus;
use crate::model::Transport;
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
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn assert_fates(cases: &[(Value, &str)]) {
    for (value, expected) in cases {
        assert_eq!(fate_of(&value.to_string()), *expected, "{value}");
    }
}

fn group(id: &str, permission: &Value) -> Value {
    json!({"GroupId": id, "IpPermissions": [], "IpPermissionsEgress": [permission]})
}

#[test]
fn security_groups_allow_and_disagree() {
    let all = json!({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]});
    let https = json!({"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]});
    let prefix = json!({"IpProtocol": "tcp", "FromPort": 7844, "ToPort": 7844, "PrefixListIds": [{"PrefixListId": "pl-1"}]});
    let to_group = json!({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-2"}]});
    let rule = |egress: bool| json!({"SecurityGroupRules": [{"GroupId": "a", "IsEgress": egress, "IpProtocol": "tcp", "FromPort": 7000, "ToPort": 8000, "CidrIpv4": "198.41.192.7/32"}]});
    let groups = |groups: &[Value]| json!({"SecurityGroups": groups});
    assert_fates(&[
        (groups(&[group("a", &all)]), "open"),
        (groups(&[group("a", &https)]), "missing"),
        (groups(&[group("a", &prefix)]), "unclear"),
        (groups(&[group("a", &to_group)]), "missing"),
        (groups(&[group("a", &all), group("b", &https)]), "unclear"),
        (groups(&[group("a", &https), group("b", &https)]), "missing"),
        (json!([group("a", &all)]), "open"),
        (rule(true), "open"),
        (rule(false), "not in the file"),
    ]);
}

#[test]
fn network_acls_have_an_order_and_two_directions() {
    let entry = |egress: bool, number: u16, action: &str, ports: [u16; 2]| {
        json!({"CidrBlock": "0.0.0.0/0", "Egress": egress, "Protocol": "6", "RuleAction": action, "RuleNumber": number,
            "PortRange": {"From": ports[0], "To": ports[1]}})
    };
    let acl =
        |entries: &[Value]| json!({"NetworkAcls": [{"NetworkAclId": "acl-1", "Entries": entries}]});
    let out = entry(true, 100, "allow", [7844, 7844]);
    let back = entry(false, 100, "allow", [1024, 65535]);
    assert_fates(&[
        (acl(&[out.clone(), back.clone()]), "open"),
        (acl(&[out.clone()]), "closed"),
        (acl(&[back.clone()]), "missing"),
        (
            acl(&[
                out.clone(),
                back.clone(),
                entry(true, 50, "deny", [7844, 7844]),
            ]),
            "closed",
        ),
        (
            acl(&[
                out.clone(),
                back.clone(),
                entry(true, 150, "deny", [7844, 7844]),
            ]),
            "open",
        ),
        // Linux sends from 32768 on, and a part of its ports is not enough.
        (
            acl(&[out.clone(), entry(false, 100, "allow", [49152, 65535])]),
            "closed",
        ),
        (
            acl(&[out.clone(), entry(false, 100, "allow", [32768, 60999])]),
            "open",
        ),
        (
            acl(&[out, back, entry(false, 50, "deny", [40000, 40000])]),
            "closed",
        ),
    ]);
}

#[test]
fn google_goes_by_priority_and_lets_out_the_rest() {
    let rule = |list: &str, priority: u16, more: &Value| {
        let mut rule = json!({"name": "x", "direction": "EGRESS", "network": "n", "priority": priority,
            list: [{"IPProtocol": "tcp", "ports": ["7844"]}], "destinationRanges": ["198.41.192.0/24"]});
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    let none = json!({});
    let ingress =
        json!({"direction": "INGRESS", "network": "n", "allowed": [{"IPProtocol": "all"}]});
    assert_fates(&[
        (json!([rule("allowed", 1000, &none)]), "open"),
        (json!([ingress]), "open"),
        (json!([rule("denied", 1000, &none)]), "closed"),
        (
            json!([rule("denied", 1000, &none), rule("allowed", 1000, &none)]),
            "closed",
        ),
        (
            json!([rule("denied", 1000, &none), rule("allowed", 900, &none)]),
            "open",
        ),
        (
            json!([rule("denied", 1000, &json!({"disabled": true}))]),
            "open",
        ),
        (
            json!([rule("denied", 1000, &json!({"targetTags": ["a"]}))]),
            "closed",
        ),
        (
            json!([
                rule("denied", 1, &json!({"targetTags": ["a"]})),
                rule("allowed", 2, &json!({"targetTags": ["b"]}))
            ]),
            "unclear",
        ),
        (
            json!([rule(
                "denied",
                1,
                &json!({"denied": [{"IPProtocol": "all"}], "destinationRanges": ["0.0.0.0/0"]})
            )]),
            "missing",
        ),
    ]);
}

#[test]
fn azure_goes_by_priority_and_lets_out_the_rest() {
    let rule = |access: &str, priority: u16, to: &str| {
        json!({"name": "x", "access": access, "direction": "Outbound", "priority": priority, "protocol": "Tcp",
            "destinationAddressPrefix": to, "destinationAddressPrefixes": [], "destinationPortRange": "7844",
            "destinationPortRanges": [], "sourceAddressPrefix": "*", "sourcePortRange": "*"})
    };
    let mut narrow = rule("Deny", 100, "*");
    narrow["sourceAddressPrefix"] = json!("10.0.0.4");
    assert_fates(&[
        (json!([rule("Allow", 100, "*")]), "open"),
        (json!([rule("Deny", 100, "Internet")]), "closed"),
        (
            json!([
                rule("Deny", 100, "198.41.192.0/24"),
                rule("Allow", 200, "*")
            ]),
            "closed",
        ),
        (
            json!([
                rule("Deny", 300, "198.41.192.0/24"),
                rule("Allow", 200, "*")
            ]),
            "open",
        ),
        (json!([rule("Deny", 100, "VirtualNetwork")]), "open"),
        (json!([rule("Deny", 100, "AzureCloud")]), "unclear"),
        (json!([narrow]), "unclear"),
        (
            json!({"name": "nsg", "securityRules": [rule("Deny", 100, "*")]}),
            "closed",
        ),
    ]);
}

#[test]
fn resources_of_terraform_are_those_of_their_clouds() {
    let state = |resources: &Value| json!({"format_version": "1.0", "values": {"root_module": {"child_modules": [{"resources": resources}]}}});
    let resource = |kind: &str, values: &Value| json!([{"address": "x.y", "type": kind, "mode": "managed", "values": values}]);
    let egress = json!([{"protocol": "tcp", "from_port": 7844, "to_port": 7844, "cidr_blocks": ["0.0.0.0/0"], "ipv6_cidr_blocks": []}]);
    assert_fates(&[
        (
            state(&resource(
                "aws_security_group",
                &json!({"id": "sg-1", "egress": egress}),
            )),
            "open",
        ),
        (
            state(&resource(
                "aws_security_group",
                &json!({"id": "sg-1", "egress": []}),
            )),
            "missing",
        ),
        (
            state(&resource(
                "aws_vpc_security_group_egress_rule",
                &json!({"security_group_id": "sg-1", "ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0"}),
            )),
            "open",
        ),
        (
            state(&resource(
                "google_compute_firewall",
                &json!({"name": "f", "direction": "EGRESS", "deny": [{"protocol": "tcp", "ports": []}], "destination_ranges": ["0.0.0.0/0"]}),
            )),
            "closed",
        ),
        (
            state(&resource(
                "azurerm_network_security_rule",
                &json!({"name": "f", "access": "Deny", "direction": "Outbound", "priority": 100, "protocol": "*",
                "destination_address_prefix": "*", "destination_port_range": "*", "source_address_prefix": "*", "network_security_group_name": "g"}),
            )),
            "missing",
        ),
    ]);
    let plan = json!({"format_version": "1.2", "planned_values": {"root_module": {"resources": [
        {"address": "a", "type": "aws_security_group", "values": {"egress": null}},
        {"address": "b", "type": "aws_security_group_rule", "values": {"type": "egress", "protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}},
    ]}}});
    assert_fates(&[(plan, "open")]);
    assert!(given(&state(&resource("aws_vpc", &json!({}))).to_string()).is_err());
}

fn policy(selector: &str, egress: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: p, namespace: a }}\nspec:\n  podSelector: {selector}\n  policyTypes: [Egress]\n  egress: {egress}\n"
    )
}

fn cilium(rules: &str) -> String {
    format!(
        "kind: CiliumNetworkPolicy\nmetadata: {{name: c}}\nspec:\n  endpointSelector: {{matchLabels: {{app: cloudflared}}}}\n{rules}\n"
    )
}

#[test]
fn policies_are_read_as_the_cluster_reads_them() {
    let ports = "ports: [{port: 7844}]";
    let web = "{matchLabels: {app: web}}";
    let both = |other: &str| format!("{}---\n{other}", policy("{}", "[{}]"));
    for (text, expected) in [
        (policy("{}", "[{}]"), "open"),
        (policy("{}", &format!("[{{to: [], {ports}}}]")), "open"),
        (
            policy(
                "{}",
                &format!("[{{to: [{{ipBlock: {{cidr: 198.41.192.0/24}}}}], {ports}}}]"),
            ),
            "open",
        ),
        (
            policy(
                "{}",
                "[{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [198.41.0.0/16]}}]}]",
            ),
            "missing",
        ),
        (policy("{}", "[{to: [{podSelector: {}}]}]"), "missing"),
        (
            policy("{}", "[{ports: [{port: 7844, protocol: UDP}]}]"),
            "missing",
        ),
        (
            policy("{}", "[{ports: [{port: 7000, endPort: 8000}]}]"),
            "open",
        ),
        (policy("{}", "[{ports: [{port: edge}]}]"), "unclear"),
        (policy("{}", "[]"), "missing"),
        // The only policy is the one that is asked about; of several it has to say so.
        (policy(web, "[{}]"), "open"),
        (
            format!(
                "{}---\n{}",
                policy(web, "[{}]"),
                policy("{matchLabels: {app: my-cloudflared}}", "[]")
            ),
            "missing",
        ),
        (
            format!(
                "{}---\n{}",
                policy(web, "[{}]"),
                policy("{matchLabels: {app: db}}", "[]")
            ),
            "not in the file",
        ),
        (
            both(&policy("{}", "[]").replace("namespace: a", "namespace: b")),
            "unclear",
        ),
        (both("kind: AdminNetworkPolicy\n"), "unclear"),
        (both("kind: Deployment\n"), "open"),
        (
            policy("{}", "[{}]").replace("[Egress]", "[Ingress]"),
            "not in the file",
        ),
        (
            format!(
                "kind: List\napiVersion: v1\nitems:\n- {}",
                policy("{}", "[{}]").replace('\n', "\n  ")
            ),
            "open",
        ),
        (policy("&all {}", "[{to: &none [], ports: *none}]"), "open"),
        (cilium("  egress:\n  - toEntities: [world]"), "open"),
        (
            cilium(
                "  egress:\n  - toEntities: [world]\n  egressDeny:\n  - toCIDR: [198.41.192.0/24]",
            ),
            "closed",
        ),
        (
            cilium("  egress:\n  - toEntities: [world]\n  egressDeny:\n  - toServices: [{}]"),
            "unclear",
        ),
        (
            cilium("  egress:\n  - toPorts: [{ports: [{port: '7844', protocol: ANY}]}]"),
            "open",
        ),
        (cilium("  egress:\n  - {}"), "missing"),
        (
            cilium("  egress:\n  - toFQDNs: [{matchName: region1.v2.argotunnel.com}]"),
            "open",
        ),
        (
            cilium("  egress:\n  - toFQDNs: [{matchPattern: '*.argotunnel.com'}]"),
            "missing",
        ),
        (
            cilium("  egress:\n  - toFQDNs: [{matchPattern: '*.v2.argotunnel.com'}]"),
            "open",
        ),
        (
            cilium(
                "  egress:\n  - toCIDRSet: [{cidr: 198.41.192.0/24, except: [198.41.192.7/32]}]",
            ),
            "missing",
        ),
        (
            cilium(
                "  egress:\n  - toEntities: [world]\n    toPorts: [{ports: [{port: '7844'}], rules: {http: [{}]}}]",
            ),
            "unclear",
        ),
    ] {
        assert_eq!(fate_of(&text), expected, "{text}");
    }
}

#[test]
fn pods_have_to_be_able_to_ask() {
    for (egress, asks) in [
        ("[{}]", true),
        ("[{ports: [{port: 53, protocol: UDP}]}]", true),
        ("[{ports: [{port: 53}, {port: 7844}]}]", false),
    ] {
        let Ok(Given::Lists(lists)) = given(&policy("{}", egress)) else {
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
        text.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
    }
    let refused = given(&text).unwrap_err();
    assert!(
        refused.why.contains("is not YAML that can be read"),
        "{refused}"
    );
}

#[test]
fn tables_say_what_they_permit() {
    let head = "direction,action,protocol,source,source_port,destination,destination_port\n";
    for (rows, expected) in [
        ("out,permit,tcp,any,any,any,7844\n", "open"),
        ("in,permit,tcp,any,any,any,7844\n", "missing"),
        (
            "out,permit,tcp,any,any,any,any\nout,deny,tcp,any,any,any,7844\n",
            "closed",
        ),
        (
            "out,permit,tcp,any,any,any,7844\nout,deny,any,any,any,any,any\n",
            "open",
        ),
        (
            "out,permit,tcp,any,any,198.41.192.7 198.41.192.27,7000-8000\n",
            "open",
        ),
        ("out,permit,tcp,10.0.0.0/8,any,any,7844\n", "unclear"),
        ("out,permit,tcp,any,any,edge-servers,7844\n", "unclear"),
    ] {
        assert_eq!(fate_of(&format!("{head}{rows}")), expected, "{rows}");
    }
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
    let two = [policy("{}", "[{}]"), "table inet x {}\n".to_owned()];
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
    let all = Dialect::value_variants().iter();
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
