//! The kernel oracle: what it says of rules is what they do.

mod contexts;
mod lockdown;
mod random;

use std::net::IpAddr;

use libtest_mimic::Trial;
use tunnelcheck::internal::model::Transport;
use tunnelcheck::internal::oracle::{
    self, Answer, Context, Direction, Flow, Format, On, Part, Question, Silence, User, What,
};

use crate::Outcome;

/// A trial for one kind of rules, nftables or iptables.
type Kind = fn(&str) -> Outcome;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn() -> Outcome| {
        Trial::test(format!("oracle::{name}"), move || Ok(run()?))
    };
    let mut trials = vec![
        trial("an-open-ruleset-is-silent", an_open_ruleset_is_silent),
        trial("a-rule-of-nft-is-named", a_rule_of_nft_is_named),
        trial("a-rule-of-iptables-is-named", a_rule_of_iptables_is_named),
        trial("conditions-are-named", conditions_are_named),
        trial("includes-are-refused", includes_are_refused),
        trial("sessions-live-on-their-rules", sessions_live_on_their_rules),
        trial(
            "random-rules-are-what-it-says",
            random::rules_are_what_the_oracle_says,
        ),
        trial(
            "what-is-forwarded",
            contexts::what_is_forwarded_meets_its_chains,
        ),
        trial("users-count", contexts::users_count),
        trial("detours-are-named", contexts::detours_are_named),
        trial("replies-count", contexts::replies_count),
        trial(
            "what-is-missing-is-a-condition",
            contexts::what_is_missing_is_a_condition,
        ),
        trial(
            "an-ordinary-user-gets-the-same-answers",
            contexts::an_ordinary_user_gets_the_same_answers,
        ),
        trial(
            "what-reaches-further-is-refused",
            contexts::what_reaches_further_is_refused,
        ),
    ];
    for firewall in ["nftables", "iptables"] {
        let kinds: [(&str, Kind); 2] = [
            ("each-rule-is-missed", lockdown::each_rule_is_missed),
            (
                "each-closing-rule-is-named",
                lockdown::each_closing_rule_is_named,
            ),
        ];
        trials.extend(kinds.map(|(name, run)| {
            Trial::test(format!("oracle::{name}-{firewall}"), move || {
                Ok(run(firewall)?)
            })
        }));
    }
    trials
}

fn context() -> Context {
    Context {
        user: User::Own,
        interface: "eth0".to_owned(),
        ipv4: [10, 0, 1, 2].into(),
        ipv6: "2a01:4f8:1::2".parse().expect("an address"),
        entry: None,
    }
}

fn out(transport: Transport, to: &str) -> Flow {
    let to = to.parse().expect("an address and a port");
    Flow::Out { transport, to }
}

fn asked(format: Format, text: &str, flows: Vec<Flow>) -> Outcome<Vec<Answer>> {
    let part = Part {
        name: "rules".to_owned(),
        format,
        text: text.to_owned(),
    };
    let question = Question {
        parts: vec![part],
        context: context(),
        flows,
    };
    Ok(oracle::ask(&question)?.flows)
}

/// Both transports and families to a region, and a stranger.
fn edge() -> Vec<Flow> {
    use Transport::{Tcp, Udp};
    let addresses = ["198.41.192.7:7844", "[2606:4700:a0::1]:7844"];
    let flows = addresses.map(|to| [out(Tcp, to), out(Udp, to)]);
    flows.concat()
}

fn same<T: PartialEq + std::fmt::Debug>(said: &T, right: &T) -> Outcome {
    if said == right {
        return Ok(());
    }
    Err(format!("said {said:#?}, right is {right:#?}").into())
}

fn an_open_ruleset_is_silent() -> Outcome {
    let answers = asked(Format::Nft, "table ip x { }", edge())?;
    same(&answers, &vec![Answer::Silent(Silence::NoChain); 4])
}

const LOCKED: &str = "table inet host {
  chain output {
    type filter hook output priority 0; policy drop;
    ct state established,related accept
    ip daddr 198.41.192.0/24 tcp dport 7844 accept
    ip6 daddr 2606:4700:a0::/44 udp dport 7844 drop comment \"no quic\"
    jump egress
  }
  chain egress {
    ip daddr 198.41.192.7 udp dport 7844 reject
    meta nfproto ipv6 tcp dport 7844 accept
  }
}
";

/// Which rule closes a flow: its chain, its number, its line and its comment.
type Named<'a> = (&'a str, usize, Option<usize>, Option<&'a str>);

fn named(answer: &Answer) -> Option<Named<'_>> {
    let Answer::Closed(closing) = answer else {
        return None;
    };
    match &closing.by {
        What::Rule(rule) => Some((
            &rule.chain,
            rule.number,
            rule.source.map(|(_, line)| line),
            rule.comment.as_deref(),
        )),
        What::Policy { chain, source, .. } => Some((chain, 0, source.map(|(_, line)| line), None)),
    }
}

fn a_rule_of_nft_is_named() -> Outcome {
    let mut flows = edge();
    flows.push(out(Transport::Tcp, "203.0.113.9:80"));
    let answers = asked(Format::Nft, LOCKED, flows)?;
    let said: Vec<_> = answers.iter().map(named).collect();
    same(
        &said,
        &vec![
            None,
            Some(("egress", 1, Some(10), None)),
            None,
            Some(("output", 3, Some(6), Some("no quic"))),
            Some(("output", 0, Some(2), None)),
        ],
    )?;
    same(&[&answers[0], &answers[2]], &[&Answer::Passes; 2])
}

fn a_rule_of_iptables_is_named() -> Outcome {
    let saved = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n:EGRESS - [0:0]\n\
        -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A OUTPUT -j EGRESS\n\
        -A EGRESS -p udp -m udp --dport 7844 -m comment --comment \"no quic\" -j DROP\n\
        -A EGRESS -d 198.41.192.0/24 -p tcp -m tcp --dport 7844 -j ACCEPT\nCOMMIT\n";
    let answers = asked(Format::Iptables, saved, edge())?;
    same(&answers[0], &Answer::Passes)?;
    same(
        &named(&answers[1]),
        &Some(("EGRESS", 1, Some(8), Some("no quic"))),
    )?;
    same(
        &answers[2..].to_vec(),
        &vec![Answer::Silent(Silence::NoChain); 2],
    )
}

fn conditions_are_named() -> Outcome {
    for (condition, on) in [
        ("limit rate 1/minute burst 2 packets", On::Limit),
        ("meta mark 7", On::Mark),
        ("meta skuid 4711", On::User),
        ("oifname \"wg0\"", On::Interface),
    ] {
        let rules = format!(
            "table inet host {{\n chain output {{\n type filter hook output priority 0; policy drop;\n \
             ct state established accept\n {condition} udp dport 7844 accept\n }}\n}}\n"
        );
        let answers = asked(Format::Nft, &rules, edge())?;
        let Answer::Conditional(said) = &answers[1] else {
            return Err(format!("{condition}: {:?}", answers[1]).into());
        };
        same(&(said.on, said.rule.number), &(on, 2))?;
        same(&named(&answers[0]), &Some(("output", 0, Some(2), None)))?;
    }
    Ok(())
}

fn includes_are_refused() -> Outcome {
    let said = asked(Format::Nft, "include \"/etc/passwd\"\n", edge());
    let said = said.err().ok_or("an include was followed")?.to_string();
    let shows = said.contains("root:");
    same(
        &(said.contains("`include` is not followed"), shows),
        &(true, false),
    )
}

fn sessions_live_on_their_rules() -> Outcome {
    let from: IpAddr = "203.0.113.5".parse()?;
    let flows = vec![
        Flow::In { from, port: 22 },
        Flow::Session {
            from,
            port: 22,
            tracked: true,
        },
    ];
    let rules = |accepts: &str| {
        format!(
            "table inet host {{\n chain input {{\n type filter hook input priority 0; policy drop;\n {accepts}\n }}\n \
             chain output {{\n type filter hook output priority 0; policy drop;\n ct state established accept\n }}\n}}\n"
        )
    };
    let passes = |accepts: &str| -> Outcome<Vec<bool>> {
        let answers = asked(Format::Nft, &rules(accepts), flows.clone())?;
        Ok(answers
            .iter()
            .map(|answer| *answer == Answer::Passes)
            .collect())
    };
    same(&passes("tcp dport 22 accept")?, &vec![true, true])?;
    same(&passes("ct state established accept")?, &vec![false, true])?;
    let closed = asked(Format::Nft, &rules(""), flows.clone())?;
    let by = |answer: &Answer| match answer {
        Answer::Closed(closing) => Some(closing.direction),
        _ => None,
    };
    let directions: Vec<_> = closed.iter().map(by).collect();
    same(&directions[0], &Some(Direction::Request))
}
