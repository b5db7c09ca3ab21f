//! What `gcloud`, `aws` and `az` list as JSON.

use serde_json::Value;

use super::Reading;
use super::cloud::{
    AZURE, GCLOUD, GROUP, acl_entry, aws_permission, azure_blocks, blocks, gcloud_rank, permits,
    rules_of, strings, text, verdict,
};
use super::ways::Step;

/// Reads what the tools list as JSON. False when it is nothing of theirs.
pub(super) fn listed(value: &Value, into: &mut Reading) -> bool {
    of_group(value, None, into)
}

/// What is inside of an object that names a group is that group's.
fn of_group(value: &Value, group: Option<&str>, into: &mut Reading) -> bool {
    let mut known = false;
    match value {
        Value::Array(items) => {
            for item in items {
                known |= of_group(item, group, into);
            }
        }
        Value::Object(map) => {
            let own = value.get("GroupId").and_then(Value::as_str).or(group);
            if let (Some(group), true) = (own, map.contains_key("IpPermissionsEgress")) {
                // A group without rules is a group all the same.
                let none = Step::new(verdict(true), Vec::new());
                let scope = Some(group.to_owned());
                into.list(GROUP, Step { scope, ..none });
            }
            known = object(value, own, into);
            for (name, inner) in map {
                // What comes in is none of our business, and Azure's own rules come after all others.
                if !known && name != "IpPermissions" && name != "defaultSecurityRules" {
                    known |= of_group(inner, own, into);
                }
            }
        }
        _ => {}
    }
    known
}

fn object(value: &Value, group: Option<&str>, into: &mut Reading) -> bool {
    if value.get("IpProtocol").is_some() {
        if value.get("IsEgress") != Some(&Value::Bool(false)) {
            aws_permission(value, group.map(str::to_owned), 0, into);
        }
        return true;
    }
    if value.get("RuleAction").is_some() {
        acl(value, into);
        return true;
    }
    if value.get("destinationRanges").is_some() || text(value, "direction") == "EGRESS" {
        gcloud(value, into);
        return true;
    }
    // An ingress rule of gcloud.
    if value.get("sourceRanges").is_some() {
        return true;
    }
    if value.get("access").is_some() && value.get("direction").is_some() {
        azure(value, into);
        return true;
    }
    false
}

fn number(value: &Value, name: &str) -> Option<i64> {
    let value = value.get(name)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn acl(value: &Value, into: &mut Reading) {
    if value.get("Egress") != Some(&Value::Bool(true)) {
        return;
    }
    let port = |name: &str| value.get("PortRange").and_then(|range| number(range, name));
    let ports = match (port("From"), port("To")) {
        (Some(from), Some(to)) => format!("{from}-{to}"),
        _ => String::new(),
    };
    let cidr = [text(value, "CidrBlock"), text(value, "Ipv6CidrBlock")].concat();
    let action = (text(value, "RuleAction"), number(value, "RuleNumber"));
    acl_entry(text(value, "Protocol"), &ports, &cidr, action, 0, into);
}

fn gcloud(value: &Value, into: &mut Reading) {
    let outbound = text(value, "direction") == "EGRESS";
    if !outbound || value.get("disabled") == Some(&Value::Bool(true)) {
        return;
    }
    let ranges = strings(value.get("destinationRanges"), "");
    let blocks = if ranges.is_empty() {
        blocks(["0.0.0.0/0"])
    } else {
        blocks(ranges)
    };
    let targets = ["targetTags", "targetServiceAccounts"];
    let targets = targets.map(|name| strings(value.get(name), "").join(","));
    let scope = Some(targets.join(" ")).filter(|scope| !scope.trim().is_empty());
    for (list, allows) in [("allowed", true), ("denied", false)] {
        let rules = value.get(list).and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            let ports = match strings(rule.get("ports"), "") {
                none if none.is_empty() => vec!["any"],
                some => some,
            };
            let rules = rules_of(&[text(rule, "IPProtocol")], &ports);
            let rank = gcloud_rank(number(value, "priority"), allows);
            let step = Step::new(verdict(allows), permits(&blocks, &rules, false, 0)).ranked(rank);
            into.list(
                GCLOUD,
                Step {
                    scope: scope.clone(),
                    ..step
                },
            );
        }
    }
}

fn azure(value: &Value, into: &mut Reading) {
    if text(value, "direction") != "Outbound" {
        return;
    }
    let both = |one: &str, many: &str| {
        let mut all = strings(value.get(many), "");
        all.extend(Some(text(value, one)).filter(|text| !text.is_empty()));
        all
    };
    let ports = both("destinationPortRange", "destinationPortRanges");
    let rules = rules_of(&[text(value, "protocol")], &ports);
    let (blocks, understood) = azure_blocks(&both(
        "destinationAddressPrefix",
        "destinationAddressPrefixes",
    ));
    let sources = both("sourceAddressPrefix", "sourceAddressPrefixes");
    let narrow = sources.iter().any(|source| *source != "*");
    let found = permits(&blocks, &rules, narrow || !understood, 0);
    let step = Step::new(verdict(text(value, "access") == "Allow"), found);
    into.list(AZURE, step.ranked(number(value, "priority").unwrap_or(0)));
}

#[cfg(test)]
mod tests {
    use super::super::permit::Fit;
    use super::*;
    use crate::model::Transport;

    fn best(reading: &Reading) -> Fit {
        reading.fit("198.41.192.7".parse().unwrap(), Transport::Tcp, 7844)
    }

    #[test]
    fn the_tools_lists_are_read() {
        for (text, expected) in [
            (
                r#"{"SecurityGroups":[{"IpPermissions":[{"IpProtocol":"-1","IpRanges":[{"CidrIp":"0.0.0.0/0"}]}],
                "IpPermissionsEgress":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"IpRanges":[{"CidrIp":"0.0.0.0/0"}]}]}]}"#,
                Fit::No,
            ),
            (
                r#"{"SecurityGroupRules":[{"IsEgress":true,"IpProtocol":"tcp","FromPort":7000,"ToPort":8000,"CidrIpv4":"198.41.192.7/32"}]}"#,
                Fit::Yes,
            ),
            (
                r#"{"SecurityGroupRules":[{"IsEgress":false,"IpProtocol":"-1","CidrIpv4":"0.0.0.0/0"}]}"#,
                Fit::No,
            ),
            (
                r#"[{"direction":"EGRESS","allowed":[{"IPProtocol":"tcp","ports":["7844"]}],"destinationRanges":["198.41.192.7/32"]}]"#,
                Fit::Yes,
            ),
            (
                r#"[{"direction":"EGRESS","denied":[{"IPProtocol":"all"}],"destinationRanges":["0.0.0.0/0"]}]"#,
                Fit::No,
            ),
            (
                r#"[{"direction":"Outbound","access":"Allow","protocol":"Tcp","destinationAddressPrefixes":["198.41.192.7"],"destinationPortRange":"7844"}]"#,
                Fit::Yes,
            ),
            (
                r#"[{"direction":"Inbound","access":"Allow","protocol":"*","destinationAddressPrefix":"*","destinationPortRange":"*"}]"#,
                Fit::No,
            ),
        ] {
            let mut reading = Reading::default();
            assert!(
                listed(&serde_json::from_str(text).unwrap(), &mut reading),
                "{text}"
            );
            assert_eq!(best(&reading), expected, "{text}");
        }
        assert!(!listed(
            &serde_json::json!({"a": ["198.41.192.7"]}),
            &mut Reading::default()
        ));
    }
}
