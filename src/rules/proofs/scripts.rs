//! The scripts for the clouds are run, with programs that write down what they are asked in the place
//! of the clouds' tools. Nothing else is on the search path, so that no real tool can be reached.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::{Flows, flows, single};
use crate::model::Family;
use crate::rules::{Dialect, Egress, hostile, samples};

const CLOUDS: [Dialect; 3] = [Dialect::Gcloud, Dialect::Aws, Dialect::Azure];

/// Writes down its arguments, and answers as the variable ANSWER says.
const STUB: &str = r#"#!/bin/sh
{
    printf '%s\0' "${0##*/}"
    for argument; do printf '%s\0' "$argument"; done
    printf '\036\0'
} >>"$RECORD"
case "$ANSWER $*" in
absent*" describe "*) exit 1 ;;
duplicate*authorize*) echo 'An error occurred (InvalidPermission.Duplicate)' >&2; exit 254 ;;
duplicate*revoke*) echo 'An error occurred (InvalidPermission.NotFound)' >&2; exit 254 ;;
broken*) echo 'no credentials' >&2; exit 255 ;;
*" describe "*) echo "${THERE:-default}" ;;
esac
# A group of Azure's: what is made is there, and no two rules of a direction have one priority.
[ "${0##*/}" = az ] || exit 0
verb=$4 name='' priority='' direction='' query=''
while [ "$#" -gt 1 ]; do
    case $1 in
    --name) name=$2 ;;
    --priority) priority=$2 ;;
    --direction) direction=$2 ;;
    --query) query=$2 ;;
    esac
    shift
done
touch() { : >>"$1"; }
touch "$RECORD.rules"
while read -r its_direction its_name its_priority; do
    case "$verb $query" in
    list*"'$its_direction'"*) printf '%s\t%s\n' "$its_name" "$its_priority" ;;
    create*)
        if [ "$its_direction $its_priority" = "$direction $priority" ] && [ "$its_name" != "$name" ]; then
            echo 'SecurityRuleConflict' >&2
            exit 1
        fi
        ;;
    esac
done <"$RECORD.rules"
[ "$verb" != create ] || echo "$direction $name $priority" >>"$RECORD.rules"
"#;

struct Run {
    output: Output,
    calls: Vec<Vec<String>>,
}

fn run(script: &str, answer: &str, variables: &[(&str, &str)]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    for tool in ["gcloud", "aws", "az"] {
        let path = folder.path().join(tool);
        fs::write(&path, STUB).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = folder.path().join("script");
    let record = folder.path().join("record");
    fs::write(&file, script).unwrap();
    let there = variables.iter().find(|(name, _)| *name == "RULES");
    fs::write(
        folder.path().join("record.rules"),
        there.map_or("", |(_, rules)| rules),
    )
    .unwrap();
    let output = Command::new("/bin/sh")
        .arg(&file)
        .env_clear()
        .env("PATH", folder.path())
        .env("RECORD", &record)
        .env("ANSWER", answer)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let record = fs::read_to_string(&record).unwrap_or_default();
    let calls = record.split("\u{1e}\0").filter(|call| !call.is_empty());
    let calls = calls.map(|call| call.split_terminator('\0').map(str::to_owned).collect());
    Run {
        output,
        calls: calls.collect(),
    }
}

#[track_caller]
fn calls(script: &str, answer: &str, variables: &[(&str, &str)]) -> Vec<Vec<String>> {
    let run = run(script, answer, variables);
    let said = String::from_utf8_lossy(&run.output.stderr).into_owned();
    assert!(run.output.status.success(), "{said}\n{script}");
    assert_eq!(said, "");
    run.calls
}

fn option<'a>(call: &'a [String], name: &str) -> Vec<&'a str> {
    let glued = call
        .iter()
        .filter_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let mut values: Vec<_> = glued.collect();
    if let Some(at) = call.iter().position(|word| word == name) {
        let after = call[at + 1..]
            .iter()
            .take_while(|word| !word.starts_with("--"));
        values.extend(after.map(String::as_str));
    }
    values
}

fn one<'a>(call: &'a [String], name: &str) -> &'a str {
    let [value] = option(call, name)[..] else {
        panic!("{name}: {call:?}")
    };
    value
}

fn of_one_family(cidrs: &[&str]) -> bool {
    let families: Vec<_> = cidrs.iter().map(|cidr| Family::of(single(cidr))).collect();
    families.windows(2).all(|pair| pair[0] == pair[1])
}

fn samples() -> [Egress; 3] {
    [samples::whole(), samples::drifted(), hostile::egress()]
}

#[test]
fn the_scripts_are_clean() {
    for dialect in CLOUDS {
        for egress in samples() {
            for lockdown in [None, Some(samples::lockdown()), Some(samples::narrow())] {
                let script = dialect.render(&egress, lockdown.as_ref());
                let file = tempfile::NamedTempFile::new().unwrap();
                fs::write(file.path(), &script).unwrap();
                passes(Command::new("/bin/sh").arg("-n"), file.path(), &script);
                let mut shellcheck = Command::new("shellcheck");
                passes(
                    shellcheck.args(["--norc", "--severity=style"]),
                    file.path(),
                    &script,
                );
            }
        }
    }
}

#[track_caller]
fn passes(command: &mut Command, file: &Path, script: &str) {
    let output = command.arg(file).output();
    let output = output.unwrap_or_else(|why| {
        panic!("{command:?}: {why}\nRemedy: apt-get install shellcheck (scripts/test does it)")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}\n{said}\n{script}");
}

#[test]
fn google_is_asked_for_exactly_what_is_needed() {
    for egress in samples() {
        let script = Dialect::Gcloud.render(&egress, None);
        let all = calls(&script, "absent", &[]);
        let mut found = Flows::new();
        let mut names = Vec::new();
        for call in all.iter().filter(|call| call[3] == "create") {
            assert_eq!(call[..4], ["gcloud", "compute", "firewall-rules", "create"]);
            assert_eq!(
                (one(call, "--direction"), one(call, "--action")),
                ("EGRESS", "ALLOW")
            );
            assert_eq!(one(call, "--network"), "default");
            assert_eq!(option(call, "--target-tags"), [""; 0]);
            let (protocol, port) = one(call, "--rules").split_once(':').unwrap();
            let ranges: Vec<_> = one(call, "--destination-ranges").split(',').collect();
            assert!(of_one_family(&ranges));
            let flow = |cidr: &&str| (protocol.to_owned(), single(cidr), port.parse().unwrap());
            found.extend(ranges.iter().map(flow));
            names.push(call[4].clone());
        }
        assert_eq!(found, flows(&egress, false));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "names differ");
        // A second run renews, with the same addresses.
        let again = calls(&script, "", &[("TARGET_TAGS", "a,b")]);
        let updates = again.iter().filter(|call| call[3] == "update");
        let made = all.iter().filter(|call| call[3] == "create");
        let ranges = |call: &Vec<String>| one(call, "--destination-ranges").to_owned();
        assert!(updates.map(ranges).eq(made.map(ranges)));
        assert!(again.iter().all(|call| call[3] != "create"));
        // The tags are those of this run, and the network is never another one.
        let mut updates = again.iter().filter(|call| call[3] == "update");
        assert!(updates.all(|call| one(call, "--target-tags") == "a,b"));
        let elsewhere = run(&script, "", &[("THERE", "other")]);
        assert_eq!(elsewhere.output.status.code(), Some(1));
        assert!(elsewhere.calls.iter().all(|call| call[3] == "describe"));
    }
}

#[test]
fn google_is_closed_last_and_for_tagged_machines_alone() {
    let script = Dialect::Gcloud.render(&samples::whole(), Some(&samples::narrow()));
    let refused = run(&script, "absent", &[]);
    assert!(!refused.output.status.success() && refused.calls.is_empty());
    let all = calls(&script, "absent", &[("TARGET_TAGS", "cloudflared")]);
    let made: Vec<_> = all.iter().filter(|call| call[3] == "create").collect();
    assert!(
        made.iter()
            .all(|call| one(call, "--target-tags") == "cloudflared")
    );
    let denies = |call: &Vec<String>| one(call, "--action") == "DENY";
    let first = made.iter().position(|call| denies(call)).unwrap();
    assert!(made[first..].iter().all(|call| denies(call)) && made.len() - first == 4);
    let ssh: Vec<_> = made[..first]
        .iter()
        .filter(|call| one(call, "--direction") == "INGRESS")
        .collect();
    assert_eq!(ssh.len(), 1);
    assert_eq!(
        (one(ssh[0], "--rules"), one(ssh[0], "--source-ranges")),
        ("tcp:22,tcp:2222", "192.0.2.0/24")
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Permission {
    ip_protocol: String,
    from_port: Option<u16>,
    to_port: Option<u16>,
    #[serde(default)]
    ip_ranges: Vec<Range4>,
    #[serde(default, rename = "Ipv6Ranges")]
    ipv6_ranges: Vec<Range6>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Range4 {
    cidr_ip: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Range6 {
    cidr_ipv6: String,
    #[serde(default)]
    description: String,
}

fn permissions(call: &[String]) -> Vec<Permission> {
    assert_eq!(one(call, "--group-id"), "sg-1");
    let text = one(call, "--ip-permissions");
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

fn amazon_flows(calls: &[Vec<String>]) -> Flows {
    let mut found = Flows::new();
    for call in calls {
        assert_eq!(call[..3], ["aws", "ec2", "authorize-security-group-egress"]);
        for permission in permissions(call) {
            let port = permission.from_port.unwrap();
            assert_eq!(permission.to_port, Some(port));
            let v4 = permission
                .ip_ranges
                .iter()
                .map(|r| (&r.cidr_ip, &r.description));
            let v6 = permission
                .ipv6_ranges
                .iter()
                .map(|r| (&r.cidr_ipv6, &r.description));
            for (cidr, description) in v4.chain(v6) {
                let known =
                    |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
                assert!(description.len() <= 255 && description.chars().all(known));
                found.insert((permission.ip_protocol.clone(), single(cidr), port));
            }
        }
    }
    found
}

#[test]
fn amazon_is_asked_for_exactly_what_is_needed() {
    for egress in samples() {
        let script = Dialect::Aws.render(&egress, None);
        let group = [("GROUP_ID", "sg-1")];
        let first = calls(&script, "", &group);
        assert_eq!(amazon_flows(&first), flows(&egress, false));
        // Where one rule of a list is there already, the list is offered one by one.
        let again = calls(&script, "duplicate", &group);
        assert_eq!(amazon_flows(&again), flows(&egress, false));
        assert!(again.len() > first.len());
        let broken = run(&script, "broken", &group);
        assert_eq!(broken.output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&broken.output.stderr).contains("no credentials"));
        assert_eq!(broken.calls.len(), 1, "the first error ends it");
        assert!(
            run(&script, "", &[]).calls.is_empty(),
            "without a group nothing is done"
        );
    }
}

#[test]
fn amazon_is_closed_last() {
    let script = Dialect::Aws.render(&samples::whole(), Some(&samples::narrow()));
    for answer in ["", "duplicate"] {
        let all = calls(&script, answer, &[("GROUP_ID", "sg-1")]);
        let (adds, revokes) = all.split_at(all.len() - 2);
        for (call, cidr) in revokes.iter().zip(["0.0.0.0/0", "::/0"]) {
            assert_eq!(call[2], "revoke-security-group-egress");
            let permission = &permissions(call)[0];
            assert_eq!(
                (&*permission.ip_protocol, permission.from_port),
                ("-1", None)
            );
            let v4 = permission.ip_ranges.iter().map(|range| &range.cidr_ip);
            let v6 = permission.ipv6_ranges.iter().map(|range| &range.cidr_ipv6);
            assert_eq!(v4.chain(v6).collect::<Vec<_>>(), [cidr]);
        }
        assert!(adds.iter().all(|call| call[2].starts_with("authorize-")));
        let ssh = adds.iter().filter(|call| call[2].ends_with("-ingress"));
        let ports: Vec<_> = ssh.map(|call| permissions(call)[0].from_port).collect();
        assert_eq!(ports, [Some(22), Some(2222)]);
    }
}

const GROUP: [(&str, &str); 2] = [("RESOURCE_GROUP", "mine"), ("NSG", "nsg")];

#[test]
fn azure_is_asked_for_exactly_what_is_needed() {
    for egress in samples() {
        let script = Dialect::Azure.render(&egress, None);
        let mut all = calls(&script, "", &GROUP);
        all.retain(|call| call[4] != "list");
        let mut found = Flows::new();
        let mut priorities = Vec::new();
        for call in &all {
            assert_eq!(call[..5], ["az", "network", "nsg", "rule", "create"]);
            assert_eq!(
                (one(call, "--resource-group"), one(call, "--nsg-name")),
                ("mine", "nsg")
            );
            assert_eq!(
                (one(call, "--direction"), one(call, "--access")),
                ("Outbound", "Allow")
            );
            assert!(one(call, "--description").len() <= 140 && one(call, "--name").len() <= 80);
            let prefixes = option(call, "--destination-address-prefixes");
            assert!(of_one_family(&prefixes));
            let port = one(call, "--destination-port-ranges").parse().unwrap();
            let protocol = one(call, "--protocol").to_lowercase();
            found.extend(
                prefixes
                    .iter()
                    .map(|cidr| (protocol.clone(), single(cidr), port)),
            );
            priorities.push(one(call, "--priority").parse::<u16>().unwrap());
        }
        assert_eq!(found, flows(&egress, false));
        assert!(priorities.is_sorted() && priorities.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(
            priorities
                .iter()
                .all(|priority| (100..=4096).contains(priority))
        );
        assert!(
            run(&script, "", &GROUP[..1]).calls.is_empty(),
            "without a group nothing is done"
        );
    }
}

#[test]
fn azure_is_closed_last() {
    let script = Dialect::Azure.render(&samples::whole(), Some(&samples::narrow()));
    let mut all = calls(&script, "", &GROUP);
    all.retain(|call| call[4] != "list");
    let (adds, denials) = all.split_at(all.len() - 2);
    assert!(
        denials
            .iter()
            .all(|call| one(call, "--access") == "Deny" && one(call, "--priority") == "4096")
    );
    assert!(adds.iter().all(|call| one(call, "--access") == "Allow"));
    let ssh = adds
        .iter()
        .filter(|call| one(call, "--direction") == "Inbound");
    let ssh: Vec<_> = ssh
        .map(|call| {
            (
                one(call, "--destination-port-ranges"),
                option(call, "--source-address-prefixes"),
            )
        })
        .collect();
    assert_eq!(
        ssh,
        [("22", vec!["192.0.2.0/24"]), ("2222", vec!["192.0.2.0/24"])]
    );
    let mut keys: Vec<_> = all
        .iter()
        .map(|c| (one(c, "--direction"), one(c, "--priority")))
        .collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

/// A list that has changed since meets rules of the first run, and of others.
#[test]
fn azure_keeps_priorities_and_takes_none_that_another_rule_has() {
    let script = Dialect::Azure.render(&samples::whole(), None);
    let mut first = calls(&script, "", &GROUP);
    first.retain(|call| call[4] == "create");
    let own = one(&first[2], "--name");
    let there = format!(
        "Outbound tunnelcheck-withdrawn 1000\nOutbound {own} 1001\nInbound other 1002\nOutbound other 1003\n"
    );
    let mut again = calls(&script, "", &[&GROUP[..], &[("RULES", &there)]].concat());
    again.retain(|call| call[4] == "create");
    let priority = |call: &Vec<String>| one(call, "--priority").to_owned();
    assert_eq!(priority(&again[2]), "1001");
    assert_eq!([&again[0], &again[1]].map(priority), ["1002", "1004"]);
    assert_eq!(again.len(), first.len());
}
