//! Firewalls with priorities and policies, clouds and clusters, and tables.

use super::*;

#[test]
fn firewalld_is_asked_by_priorities() {
    let rule = |priority: i32, what: &str| {
        format!(
            "firewall-cmd --policy=out --add-rich-rule='rule priority=\"{priority}\" family=\"ipv4\" {what}'\n"
        )
    };
    let deny = r#"port port="7844" protocol="tcp" drop"#;
    for (text, expected) in [
        (rule(0, "accept") + &rule(0, deny), Way::Closed),
        (rule(-5, "accept") + &rule(0, deny), Way::Open),
        (rule(5, "accept") + &rule(0, deny), Way::Closed),
        (rule(0, r#"destination ipset="edge" accept"#), Way::Unclear),
        (rule(0, "accept") + "firewall-cmd --policy=out --remove-rich-rule='x'\n", Way::Unclear),
        ("firewall-cmd --direct --add-rule ipv4 filter OUTPUT 9 -j ACCEPT\nfirewall-cmd --direct --add-rule ipv4 filter OUTPUT 1 -p tcp --dport 7844 -j DROP\n".to_owned(), Way::Closed),
    ] {
        let zones = "firewall-cmd --policy=out --add-ingress-zone=HOST\nfirewall-cmd --policy=out --add-egress-zone=ANY\n";
        assert_eq!(way_of(&format!("{zones}{text}")), expected, "{text}");
    }
    assert_eq!(
        way_of(&rule(0, "accept")),
        Way::Unclear,
        "between which zones?"
    );
    let forwarding = "firewall-cmd --policy=out --add-ingress-zone=public\n";
    assert_eq!(
        way_of(&format!("{forwarding}{}", rule(0, "accept"))),
        Way::Unsaid
    );
    let policy = |target: &str, rules: &str| {
        format!(
            "<policy target=\"{target}\"><ingress-zone name=\"HOST\"/><egress-zone name=\"ANY\"/>{rules}</policy>\n"
        )
    };
    let rule = "<rule family=\"ipv4\"><port port=\"7844\" protocol=\"tcp\"/><accept/></rule>";
    assert_eq!(way_of(&policy("DROP", rule)), Way::Open);
    assert_eq!(
        way_of(&policy("DROP", &format!("<!-- {rule} -->"))),
        Way::Closed
    );
    assert_eq!(
        way_of(&policy("DROP", rule).replace("ANY", "dmz")),
        Way::Unclear
    );
}

#[test]
fn clouds_are_asked_by_their_priorities() {
    let gcloud = |action: &str, more: &str| {
        format!(
            "gcloud compute firewall-rules create x --direction=EGRESS --action={action} --rules=tcp:7844 --destination-ranges=0.0.0.0/0 {more}\n"
        )
    };
    let azure = |access: &str, priority: u16, to: &str| {
        format!(
            "az network nsg rule create --direction Outbound --access {access} --priority {priority} --protocol Tcp --destination-port-ranges 7844 --destination-address-prefixes {to}\n"
        )
    };
    let acl = |action: &str, number: u16| {
        format!(
            "aws ec2 create-network-acl-entry --egress --rule-number {number} --rule-action {action} --protocol 6 --port-range From=7844,To=7844 --cidr-block 0.0.0.0/0\n"
        )
    };
    for (text, expected) in [
        (gcloud("ALLOW", ""), Way::Open),
        (gcloud("ALLOW", "--disabled"), Way::Unsaid),
        (gcloud("ALLOW", "") + &gcloud("DENY", ""), Way::Closed),
        (
            gcloud("ALLOW", "--priority=900") + &gcloud("DENY", ""),
            Way::Open,
        ),
        (
            gcloud("ALLOW", "") + &gcloud("DENY", "--priority=900"),
            Way::Closed,
        ),
        (gcloud("ALLOW", "--target-tags=a"), Way::Open),
        (
            gcloud("ALLOW", "--target-tags=a") + &gcloud("DENY", "--priority=1 --target-tags=b"),
            Way::Unclear,
        ),
        (
            gcloud("ALLOW", "") + "gcloud compute firewall-rules delete x\n",
            Way::Unclear,
        ),
        (
            azure("Allow", 200, "'*'") + &azure("Deny", 100, "198.41.192.0/24"),
            Way::Closed,
        ),
        (
            azure("Allow", 100, "'*'") + &azure("Deny", 200, "198.41.192.0/24"),
            Way::Open,
        ),
        (azure("Allow", 100, "AzureCloud"), Way::Unclear),
        (acl("allow", 100) + &acl("deny", 50), Way::Closed),
        (acl("allow", 50) + &acl("deny", 100), Way::Open),
    ] {
        assert_eq!(way_of(&text), expected, "{text}");
    }
    for (text, expected) in [
        (
            r#"[{"direction":"EGRESS","disabled":true,"allowed":[{"IPProtocol":"tcp"}],"destinationRanges":["0.0.0.0/0"]}]"#,
            Way::Unsaid,
        ),
        (
            r#"[{"direction":"EGRESS","priority":1000,"allowed":[{"IPProtocol":"tcp"}],"destinationRanges":["0.0.0.0/0"]},
                {"direction":"EGRESS","priority":10,"denied":[{"IPProtocol":"tcp","ports":["7844"]}],"destinationRanges":["0.0.0.0/0"]}]"#,
            Way::Closed,
        ),
        (
            r#"[{"direction":"Outbound","access":"Allow","priority":200,"protocol":"*","destinationAddressPrefix":"*","destinationPortRange":"*"},
                {"direction":"Outbound","access":"Deny","priority":100,"protocol":"Tcp","destinationAddressPrefix":"*","destinationPortRange":"7844"}]"#,
            Way::Closed,
        ),
        (
            r#"{"SecurityGroups":[{"GroupId":"a","IpPermissionsEgress":[{"IpProtocol":"tcp","FromPort":7844,"ToPort":7844,"PrefixListIds":[{"PrefixListId":"pl-1"}]}]}]}"#,
            Way::Unclear,
        ),
        (
            r#"{"SecurityGroups":[{"GroupId":"a","IpPermissionsEgress":[]},{"GroupId":"b","IpPermissionsEgress":[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]}]}"#,
            Way::Unclear,
        ),
        (
            r#"{"NetworkAcls":[{"Entries":[{"CidrBlock":"0.0.0.0/0","Egress":true,"Protocol":"-1","RuleAction":"allow","RuleNumber":100},
                {"CidrBlock":"0.0.0.0/0","Egress":true,"PortRange":{"From":7844,"To":7844},"Protocol":"6","RuleAction":"deny","RuleNumber":90}]}]}"#,
            Way::Closed,
        ),
    ] {
        assert_eq!(way_of(text), expected, "{text}");
    }
}

#[test]
fn policies_are_those_of_the_pods() {
    let plain = |selector: &str| {
        format!(
            "kind: NetworkPolicy\nmetadata:\n  namespace: a\nspec:\n  podSelector: {selector}\n  egress:\n    - {{}}\n"
        )
    };
    let cilium = |deny: &str| {
        format!(
            "kind: CiliumNetworkPolicy\nspec:\n  endpointSelector:\n    matchLabels:\n      app: cloudflared\n  egress:\n    - toEntities:\n        - world\n{deny}"
        )
    };
    let deny = |to: &str| format!("  egressDeny:\n    - {to}\n");
    for (text, expected) in [
        (plain("{}"), Way::Open),
        (
            plain("\n    matchLabels:\n      app: cloudflared"),
            Way::Open,
        ),
        (plain("\n    matchLabels:\n      app: web"), Way::Unclear),
        (
            plain("\n    matchLabels:\n      app: cloudflared\n      tier: web"),
            Way::Unclear,
        ),
        (
            format!(
                "{}---\n{}",
                plain("{}"),
                plain("{}").replace("namespace: a", "namespace: b")
            ),
            Way::Unclear,
        ),
        (
            format!("{}---\nkind: AdminNetworkPolicy\n", plain("{}")),
            Way::Unclear,
        ),
        (
            plain("{}").replace("  egress:", "  policyTypes:\n    - Ingress\n  egress:"),
            Way::Unsaid,
        ),
        (cilium(""), Way::Open),
        (
            cilium(&deny("toCIDR:\n        - 198.41.192.0/24")),
            Way::Closed,
        ),
        (cilium(&deny("toEntities:\n        - world")), Way::Closed),
        (cilium(&deny("toCIDR:\n        - 192.0.2.0/24")), Way::Open),
        (cilium(&deny("toServices:\n        - x")), Way::Unclear),
        (
            cilium("").replace("app: cloudflared", "app: web"),
            Way::Unclear,
        ),
    ] {
        let reading = read(text.as_bytes());
        let address = "198.41.192.7".parse().unwrap();
        let way =
            reading.map(|r| r.way("region1.v2.argotunnel.com", address, Transport::Tcp, 7844));
        // A policy that says nothing about what leaves is no rule to compare.
        assert_eq!(way.unwrap_or(Way::Unsaid), expected, "{text}");
    }
}

#[test]
fn windows_blocks_before_it_allows() {
    let rule = |action: &str, more: &str| {
        format!(
            "New-NetFirewallRule -Direction Outbound -Action {action} -Protocol TCP -RemotePort 7844 {more}\n"
        )
    };
    for (text, expected) in [
        (rule("Allow", "") + &rule("Block", ""), Way::Closed),
        (
            rule("Allow", "") + &rule("Block", "-Program x"),
            Way::Unclear,
        ),
        (rule("Allow", "-RemoteAddress $edge"), Way::Unclear),
        (
            rule("Allow", "") + "Remove-NetFirewallRule -DisplayName x\n",
            Way::Unclear,
        ),
        (rule("Allow", "-LocalPort 1024-65535"), Way::Unclear),
        (
            rule("Allow", "-RemoteAddress 1.1.1.1")
                + "Set-NetFirewallProfile -All -DefaultOutboundAction Block\n",
            Way::Closed,
        ),
    ] {
        assert_eq!(way_of(&text), expected, "{text}");
    }
}

#[test]
fn tables_and_words_are_no_more_than_they_say() {
    let head = "action,protocol,source,source_port,destination,destination_port\n";
    for (rows, expected) in [
        ("permit,tcp,any,any,any,7844\n", Way::Open),
        (
            "permit,tcp,any,any,any,any\ndeny,tcp,any,any,any,7844\n",
            Way::Closed,
        ),
        (
            "permit,tcp,any,any,any,7844\ndeny,any,any,any,any,any\n",
            Way::Open,
        ),
        ("permit,tcp,10.0.0.0/8,any,any,7844\n", Way::Unclear),
        ("permit,tcp,any,any,edge-servers,7844\n", Way::Unclear),
        ("shape,tcp,any,any,any,7844\n", Way::Unclear),
    ] {
        assert_eq!(way_of(&format!("{head}{rows}")), expected, "{rows}");
    }
    assert_eq!(
        way_of("permit tcp any host 198.41.192.7 eq 7844\n"),
        Way::Unclear
    );
}
