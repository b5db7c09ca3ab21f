//! What `gcloud`, `aws` and `az` list as JSON.

use serde_json::Value;

use super::Reading;
use super::cloud::{aws_permission, azure_blocks, blocks, rules_of, strings, text};

/// Reads what the tools list as JSON. False when it is nothing of theirs.
pub(super) fn listed(value: &Value, into: &mut Reading) -> bool {
    let mut known = false;
    match value {
        Value::Array(items) => {
            for item in items {
                known |= listed(item, into);
            }
        }
        Value::Object(map) => {
            known = object(value, into);
            for (name, inner) in map {
                // What comes in is none of our business.
                if !known && name != "IpPermissions" {
                    known |= listed(inner, into);
                }
            }
        }
        _ => {}
    }
    known
}

fn object(value: &Value, into: &mut Reading) -> bool {
    if value.get("IpProtocol").is_some() {
        if value.get("IsEgress") != Some(&Value::Bool(false)) {
            aws_permission(value, 0, into);
        }
        return true;
    }
    let outbound = matches!(text(value, "direction"), "EGRESS" | "Outbound");
    if value.get("destinationRanges").is_some() {
        for (list, allows) in [("allowed", true), ("denied", false)] {
            for rule in value
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let ports = match strings(rule.get("ports"), "") {
                    none if none.is_empty() => vec!["any"],
                    some => some,
                };
                let rules = rules_of(&[text(rule, "IPProtocol")], &ports);
                let blocks = blocks(strings(value.get("destinationRanges"), ""));
                into.add(allows, &blocks, if outbound { &rules } else { &[] }, 0);
            }
        }
        return true;
    }
    if value.get("access").is_some() && value.get("direction").is_some() {
        let both = |one: &str, many: &str| {
            let mut all = strings(value.get(many), "");
            all.extend(Some(text(value, one)).filter(|text| !text.is_empty()));
            all
        };
        let ports = both("destinationPortRange", "destinationPortRanges");
        let rules = rules_of(&[text(value, "protocol")], &ports);
        let blocks = azure_blocks(&both(
            "destinationAddressPrefix",
            "destinationAddressPrefixes",
        ));
        let allows = text(value, "access") == "Allow";
        into.add(allows, &blocks, if outbound { &rules } else { &[] }, 0);
        return true;
    }
    false
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
