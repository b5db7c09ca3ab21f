//! As whom, from where, and on which way.

use std::process::{Command, Stdio};

use tunnelcheck::internal::model::Transport;
use tunnelcheck::internal::oracle::{
    self, Answer, Answers, Context, Direction, Entry, Flow, Format, On, OracleError, Part,
    Question, Silence, StandIn, User,
};

use super::{asked, context, edge, named, out, same};
use crate::Outcome;
use crate::clients::expect;

fn question(format: Format, text: &str, flows: Vec<Flow>, context: Context) -> Question {
    let part = Part {
        name: "rules".to_owned(),
        format,
        text: text.to_owned(),
    };
    Question {
        parts: vec![part],
        context,
        flows,
    }
}

/// A host with a container behind a bridge, whose chain lets TCP out.
const CONTAINERS: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:OWN - [0:0]
-A FORWARD -j OWN
-A FORWARD -i br-tun ! -o br-tun -j ACCEPT
-A OWN -d 172.30.4.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OWN -s 172.30.4.2/32 -p tcp -m tcp --dport 7844 -j ACCEPT
-A OWN -s 172.30.4.2/32 -j DROP
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.30.4.0/24 ! -o br-tun -j MASQUERADE
COMMIT
";

pub(super) fn what_is_forwarded_meets_its_chains() -> Outcome {
    let forwarded = |transport| Flow::Forwarded {
        transport,
        to: ([198, 41, 192, 7], 7844).into(),
    };
    let mut flows = vec![forwarded(Transport::Tcp), forwarded(Transport::Udp)];
    flows.push(out(Transport::Udp, "198.41.192.7:7844"));
    let with = |ipv4: [u8; 4]| Context {
        entry: Some(Entry {
            interface: "br-tun".to_owned(),
            ipv4: Some(ipv4.into()),
            ipv6: None,
        }),
        ..context()
    };
    let question_of = |ipv4| question(Format::Iptables, CONTAINERS, flows.clone(), with(ipv4));
    let answers = oracle::ask(&question_of([172, 30, 4, 2]))?.flows;
    same(&answers[0], &Answer::Passes)?;
    same(&named(&answers[1]), &Some(("OWN", 3, Some(10), None)))?;
    same(&answers[2], &Answer::Silent(Silence::EmptyChain))?;
    // Of another container the rule says nothing. Its replies have no rule.
    let answers = oracle::ask(&question_of([172, 30, 4, 3]))?.flows;
    let Answer::Closed(closing) = &answers[1] else {
        return Err(format!("{:?}", answers[1]).into());
    };
    same(&closing.direction, &Direction::Reply)?;
    same(&named(&answers[1]), &Some(("FORWARD", 0, Some(3), None)))
}

const BY_USER: &str = "table inet host {
  chain output {
    type filter hook output priority 0; policy drop;
    ct state established accept
    meta skuid \"nobody-has-this-name\" udp dport 7844 accept
    meta skuid { root, \"nor-this-one\" } tcp dport 7844 accept
  }
}
";

pub(super) fn users_count() -> Outcome {
    let by = |user| {
        let context = Context { user, ..context() };
        oracle::ask(&question(Format::Nft, BY_USER, edge(), context))
    };
    let name = "nobody-has-this-name";
    let Answers { flows, stand_ins } = by(User::Id(4711))?;
    for (answer, number) in flows.iter().zip([3, 2, 3, 2]) {
        let Answer::Conditional(said) = answer else {
            return Err(format!("{answer:?}").into());
        };
        same(&(said.on, said.rule.number), &(On::User, number))?;
    }
    let missing = |wanted: &str| {
        let is_it =
            |stand_in: &&StandIn| matches!(stand_in, StandIn::User(name, _) if name == wanted);
        stand_ins.iter().filter(is_it).count()
    };
    same(&(missing(name), missing("nor-this-one")), &(1, 1))?;
    let flows = by(User::Name(name.to_owned()))?.flows;
    same(&[&flows[1], &flows[3]], &[&Answer::Passes; 2])?;
    expect(matches!(flows[0], Answer::Conditional(_)), "TCP is root's")?;
    let flows = by(User::Id(0))?.flows;
    same(&[&flows[0], &flows[2]], &[&Answer::Passes; 2])
}

pub(super) fn detours_are_named() -> Outcome {
    let rules = "table ip nat {\n chain output {\n type nat hook output priority -100;\n \
                 tcp dport 7844 redirect to :12345\n udp dport 7844 dnat to 203.0.113.77\n }\n}\n";
    for (answer, number) in asked(Format::Nft, rules, edge())?.iter().zip([1, 2]) {
        let Answer::Redirected(rule) = answer else {
            return Err(format!("{answer:?}").into());
        };
        same(&(&*rule.chain, rule.number), &("output", number))?;
    }
    Ok(())
}

/// Replies without connection tracking, which one rule takes from the flow.
pub(super) fn replies_count() -> Outcome {
    let rules = "table inet host {\n chain early {\n type filter hook output priority raw;\n udp dport 7844 notrack\n }\n \
                 chain input {\n type filter hook input priority 0; policy drop;\n ct state established accept\n }\n}\n";
    let answers = asked(Format::Nft, rules, edge())?;
    same(&named(&answers[1]), &Some(("input", 0, Some(6), None)))?;
    let silent = Answer::Silent(Silence::NoChain);
    expect(
        answers[0] == silent || answers[0] == Answer::Passes,
        &format!("TCP has its replies: {:?}", answers[0]),
    )
}

/// What cannot be set up here: a control group, a set of ipset, an interface.
pub(super) fn what_is_missing_is_a_condition() -> Outcome {
    let nft = "table inet host {\n set filled { type ipv4_addr; flags dynamic,timeout; timeout 5m; }\n \
               chain output {\n type filter hook output priority 0; policy drop;\n ct state established accept\n \
               iif \"wg-not-here\" drop\n socket cgroupv2 level 1 \"not-here\" tcp dport 7844 accept\n \
               ip daddr @filled udp dport 7844 accept\n }\n}\n";
    let saved = "*filter\n:OUTPUT DROP [0:0]\n-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
                 -A OUTPUT -o wg-not-here -j DROP\n-A OUTPUT -p tcp -m cgroup --path not-here -j ACCEPT\n\
                 -A OUTPUT -p udp -m set --match-set filled dst -j ACCEPT\nCOMMIT\n";
    for (format, text) in [(Format::Nft, nft), (Format::Iptables, saved)] {
        let answers = asked(format, text, edge())?;
        for (answer, right) in answers.iter().zip([(On::Cgroup, 3), (On::Set, 4)]) {
            let Answer::Conditional(said) = answer else {
                return Err(format!("{format:?}: {answer:?}").into());
            };
            same(&(said.on, said.rule.number), &right)?;
        }
    }
    Ok(())
}

/// The worker of an ordinary user answers as root's does.
pub(super) fn an_ordinary_user_gets_the_same_answers() -> Outcome {
    let text = "table inet host {\n chain output {\n type filter hook output priority 0; policy drop;\n \
                ct state established accept\n ip daddr 198.41.192.0/24 udp dport 7844 accept\n \
                meta skuid 4711 tcp dport 7844 accept\n limit rate 1/hour ip6 daddr ::/0 udp dport 7844 accept\n }\n}\n";
    for user in [User::Id(0), User::Id(4711)] {
        let context = Context { user, ..context() };
        let asked = question(Format::Nft, text, edge(), context);
        let right = oracle::ask(&asked)?;
        expect(right.flows[1] == Answer::Passes, "UDP is let out")?;
        same(&ordinary(&asked)?, &Ok(right))?;
    }
    Ok(())
}

/// Asks a worker that is not root. Where the laboratory is not root either, its worker is not.
fn ordinary(asked: &Question) -> Outcome<Result<Answers, OracleError>> {
    let mut worker = Command::new("setpriv");
    let is_root = std::fs::read_to_string("/proc/self/uid_map")?
        .split_whitespace()
        .nth(2)
        .is_some_and(|count| count != "1");
    if is_root {
        worker.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    worker
        .arg("--")
        .arg(std::env::current_exe()?)
        .arg("oracle-worker");
    let input = serde_json::to_string(asked)?;
    let mut child = worker
        .env("PATH", crate::sandbox::PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("a pipe")?;
    std::io::Write::write_all(&mut stdin, input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// No tool sees what would make it read other files or run programs, and its words are few.
pub(super) fn what_reaches_further_is_refused() -> Outcome {
    let refusal = |format, text: &str| match asked(format, text, edge()) {
        Ok(answers) => Err(format!("{text}: {answers:?}")),
        Err(why) => Ok(why.to_string()),
    };
    for text in [
        "table ip x { }\ninclude\t\"/etc/shadow\"\n",
        "define a = 1; include '/etc/passwd'\n",
    ] {
        let why = refusal(Format::Nft, text)?;
        expect(why.contains("`include` is not followed"), &why)?;
    }
    refusal(
        Format::Iptables,
        "*filter\n-A OUTPUT -M /bin/true -m nothing -j DROP\nCOMMIT\n",
    )?;
    let why = refusal(
        Format::Nft,
        "table ip x {\n chain y {\n bogus \"words\"\n }\n}\n",
    )?;
    expect(why.contains("line 3") && !why.contains("words"), &why)?;
    let why = refusal(
        Format::Iptables,
        "*filter\n-A OUTPUT -m no-such -j DROP\nCOMMIT\n",
    )?;
    expect(why.contains("line 2"), &why)
}
