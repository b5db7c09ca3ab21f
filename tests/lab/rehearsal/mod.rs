//! Rehearsals that end in every way that they can end in. In each trial the old rules are there
//! afterwards to the last byte, or the new ones are and were meant to be.
//!
//! Nothing here waits for a time to pass: the program's own words tell how far it is.

mod cases;
mod faults;
mod scripts;
mod session;
mod stage;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use self::stage::{Stage, TIMEOUT, ends_with, is_gone, send, tells, tells_not};
use crate::Outcome;
use crate::sandbox::find;

/// Rules that lose nothing: a table beside those that are there.
const GOOD: &str = "
table inet tunnelcheck {
	chain out {
		type filter hook output priority 0; policy drop;
		oifname \"lo\" accept
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		udp dport { 53, 7844 } accept
		tcp dport { 53, 7844 } accept
	}
}
";
/// What stands in the listing when [`GOOD`] is in force.
const GOOD_WORDS: &str = "table inet tunnelcheck";

/// The old rules away, and nothing goes out any more: a check takes seconds to be sure of that, so that
/// something can be done to it meanwhile, also on a busy machine. The limit keeps anybody from knowing it before
/// the rules are in force.
const SILENT: &str = "
flush ruleset
table inet bad {
	chain out {
		type filter hook output priority 0; policy accept;
		limit rate 1000000/second drop
	}
}
";

/// The old rules away, and no UDP to the tunnel's port. The flush makes it as bad as it can get. The limit
/// keeps anybody from knowing this before the rules are in force.
const CUTS_UDP: &str = "
flush ruleset
table inet bad {
	chain out {
		type filter hook output priority 0; policy accept;
		limit rate 1000000/second udp dport 7844 drop
	}
}
";
const CUTS_DNS: &str = "
table inet bad {
	chain out {
		type filter hook output priority 0; policy accept;
		limit rate 1000000/second meta l4proto { tcp, udp } th dport 53 drop
	}
}
";

/// The trials of rehearsals.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("rehearsal::{name}"), move || Ok(test()?))
    };
    vec![
        trial("good-rules-are-kept-with-yes", good_rules_are_kept_with_yes),
        trial("nobody-confirms", nobody_confirms),
        trial("yes-on-the-terminal", yes_on_the_terminal),
        trial("no-on-the-terminal", no_on_the_terminal),
        trial("nobody-answers", nobody_answers),
        trial("udp-is-cut", udp_is_cut),
        trial("dns-is-cut", dns_is_cut),
        trial("invalid-rules", invalid_rules),
        trial("half-of-the-rules-fail", half_of_the_rules_fail),
        trial("iptables-rules", iptables_rules),
        trial("a-second-rehearsal", a_second_rehearsal),
        trial("the-deadline-passes-in-the-check", the_deadline_passes),
        trial("killed-in-the-check-before", killed_in_the_check_before),
        trial("killed-with-the-guard-up", killed_with_the_guard_up),
        trial("killed-with-rules-applied", killed_with_rules_applied),
        trial("killed-at-the-question", killed_at_the_question),
        trial("stopped-for-ever", stopped_for_ever),
        trial("interrupted", interrupted),
        trial("the-guard-is-killed", the_guard_is_killed),
        trial(
            "the-guard-is-killed-at-the-question",
            guard_killed_at_question,
        ),
        trial("the-guard-is-ended", the_guard_is_ended),
        trial("the-guard-is-stopped", the_guard_is_stopped),
        trial("both-are-killed", both_are_killed),
        trial("the-old-rules-cannot-come-back", unrestored),
        trial("iptables-lines-from-a-guide", iptables_lines),
        trial("the-terminal-goes", the_terminal_goes),
        trial(
            "the-terminal-goes-in-the-check",
            the_terminal_goes_in_the_check,
        ),
        trial("ssh-is-cut", session::ssh_is_cut),
        trial("legacy-rules-come-back", legacy_rules_come_back),
        trial("rules-about-an-interface", rules_of_this_namespace),
        trial("rules-of-nft-that-iptables-misreads", misread_rules),
    ]
    .into_iter()
    .chain(faults::trials())
    .chain(scripts::trials())
    .chain(cases::trials())
    .collect()
}

fn good_rules_are_kept_with_yes() -> Outcome {
    let stage = Stage::build()?;
    let said = stage.rehearse(GOOD, &["--yes"])?.ends(Some(0))?;
    tells(&said, &["kept:", "difference: none", "make them permanent"])?;
    tells(&said, &["change: adds table inet tunnelcheck"])?;
    stage.holds(GOOD_WORDS)?;
    let said = stage.rehearse(GOOD, &["--yes", "-q"])?.ends(Some(0))?;
    if said.lines().count() != 1 || !said.starts_with("kept: ") {
        return Err(format!("more than the outcome:\n{said}").into());
    }
    stage.holds(GOOD_WORDS)
}

fn nobody_confirms() -> Outcome {
    let stage = Stage::build()?;
    let said = stage.rehearse(GOOD, &[])?.ends(Some(4))?;
    tells(&said, &["applied:", "there is no terminal", "--yes"])?;
    stage.is_as_before()
}

fn yes_on_the_terminal() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    run.until("confirm")?;
    run.answer("y\n")?;
    run.until("kept")?;
    let said = run.ends(Some(0))?;
    ends_with(&said, "kept: ")?;
    let place = |words: &str| said.lines().position(|line| line.contains(words));
    let report = place("READY  ").filter(|report| Some(*report) < place("confirm:"));
    report.ok_or_else(|| format!("no report before the question:\n{said}"))?;
    stage.holds(GOOD_WORDS)
}

fn no_on_the_terminal() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    run.until("confirm")?;
    run.answer("\n")?;
    let end = run.until("restored")?;
    tells(&end, &["not confirmed"])?;
    ends_with(&run.ends(Some(4))?, "restored: ")?;
    stage.is_as_before()
}

/// What was typed before the question is no answer to it.
fn nobody_answers() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &["--deadline", "3"])?;
    run.answer("y\ny\n")?;
    run.until("confirm")?;
    let end = run.until("restored")?;
    tells(&end, &["the deadline has passed"])?;
    run.ends(Some(4))?;
    stage.is_as_before()
}

fn udp_is_cut() -> Outcome {
    let stage = Stage::build()?;
    let said = stage.on_terminal(CUTS_UDP, &["--yes"])?.ends(Some(1))?;
    let lost = said.lines().filter(|line| line.starts_with("difference:"));
    let lost: Vec<&str> = lost.collect();
    tells(&lost.join("\n"), &["quic", "blocked"])?;
    tells(&said, &["something required was lost"])?;
    ends_with(&said, "restored: ")?;
    stage.is_as_before()
}

fn dns_is_cut() -> Outcome {
    let stage = Stage::build()?;
    let said = stage.rehearse(CUTS_DNS, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["restored:", "something required was lost"])?;
    stage.is_as_before()
}

fn invalid_rules() -> Outcome {
    let stage = Stage::build()?;
    for rules in [
        "flush ruleset\ntable inet bad {\n\tchain out { type nonsense; }\n}\n",
        "*filter\n:INPUT DROP [0:0]\n-A INPUT --nonsense -j ACCEPT\nCOMMIT\n",
        "#!/bin/sh\nufw default deny outgoing\n",
        "iptables -P OUTPUT DROP\nrm -rf /nonexistent\n",
        "#!/bin/sh\nif true; then iptables -P OUTPUT DROP\n",
        "hello\n",
        // Nothing hooks it, and nothing jumps to it.
        "table inet loose {\n\tchain out {\n\t\tudp dport 7844 drop\n\t}\n}\n",
        "#!/bin/sh\niptables -N LOOSE\niptables -A LOOSE -j DROP\n",
    ] {
        let said = stage.rehearse(rules, &["--yes"])?.ends(Some(2))?;
        if said.contains("applied:") || said.lines().count() != 1 {
            return Err(format!("more than a refusal:\n{said}").into());
        }
        stage.is_as_before()?;
    }
    Ok(())
}

/// IPv4 is in force when the kernel refuses IPv6: a loop of chains is no error of syntax.
fn half_of_the_rules_fail() -> Outcome {
    let stage = Stage::build()?;
    let rules = "\
#!/bin/sh
set -eu
iptables-restore <<'V4'
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*nat
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
V4
ip6tables-restore <<'V6'
*filter
:ONE - [0:0]
:TWO - [0:0]
-A INPUT -j ONE
-A ONE -j TWO
-A TWO -j ONE
COMMIT
V6
";
    let said = stage.rehearse(rules, &["--yes"])?.ends(Some(2))?;
    tells(
        &said,
        &["the script fails", "RULE_APPEND", "nothing was touched"],
    )?;
    stage.is_as_before()?;
    // The same where it shows when the rules are applied only.
    stage.replaces(
        "nft",
        "if [ \"$1\" = -f ] && [ \"$2\" != - ]; then \"$REAL\" \"$@\"; echo half >&2; exit 1; fi",
    )?;
    let said = stage.rehearse(GOOD, &["--yes"])?.ends(Some(2))?;
    tells(&said, &["restored:", "could not be applied", "half"])?;
    stage.is_as_before()
}

/// iptables replaces its own tables, and those of nft stay.
fn iptables_rules() -> Outcome {
    let stage = Stage::build()?;
    let open = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 192.0.2.77 -j DROP\nCOMMIT\n\
                *nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n";
    let mut run = stage.rehearse(open, &[])?;
    tells(&run.ends(Some(4))?, &["applied:", "restored:"])?;
    stage.is_as_before()?;
    stage.rehearse(open, &["--yes"])?.ends(Some(0))?;
    stage.holds("192.0.2.77")
}

fn a_second_rehearsal() -> Outcome {
    let stage = Stage::build()?;
    let mut first = stage.on_terminal(GOOD, &[])?;
    first.until("confirm")?;
    for (rules, argument) in [(CUTS_UDP, "--yes"), ("", "--restore")] {
        let said = stage.rehearse(rules, &[argument])?.ends(Some(2))?;
        tells(&said, &["process ", "is rehearsing"])?;
    }
    first.answer("yes\n")?;
    first.until("kept")?;
    first.ends(Some(0))?;
    stage.holds(GOOD_WORDS)
}

fn the_deadline_passes() -> Outcome {
    let stage = Stage::build()?;
    let arguments = ["--deadline", "2", "--timeout", "20"];
    let said = stage.rehearse(SILENT, &arguments)?.ends(Some(4))?;
    tells(&said, &["restored:", "the deadline has passed"])?;
    stage.is_as_before()
}

fn killed_in_the_check_before() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.rehearse(CUTS_UDP, &[])?;
    run.until("before")?;
    run.signal(Signal::SIGKILL)?;
    run.ends(None)?;
    // What is left of it is in nobody's way.
    let said = stage.rehearse(GOOD, &[])?.ends(Some(4))?;
    tells(&said, &["restored:"])?;
    stage.is_as_before()
}

fn killed_at(step: &str, rules: &str, on_terminal: bool) -> Outcome {
    let stage = Stage::build()?;
    let mut run = if on_terminal {
        stage.on_terminal(rules, &[])?
    } else {
        stage.rehearse(rules, &[])?
    };
    run.until(step)?;
    run.signal(Signal::SIGKILL)?;
    run.ends(None)?;
    stage.comes_back_within(TIMEOUT)
}

fn killed_with_the_guard_up() -> Outcome {
    killed_at("guard", SILENT, false)
}

fn killed_with_rules_applied() -> Outcome {
    killed_at("applied", SILENT, false)
}

fn killed_at_the_question() -> Outcome {
    killed_at("confirm", GOOD, true)
}

/// A process that is stopped holds its end of the pipe: the deadline is what helps.
fn stopped_for_ever() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.rehearse(SILENT, &["--deadline", "2"])?;
    run.until("applied")?;
    run.signal(Signal::SIGSTOP)?;
    stage.comes_back_within(TIMEOUT)?;
    run.signal(Signal::SIGCONT)?;
    tells(&run.ends(Some(4))?, &["the deadline has passed"])
}

fn interrupted() -> Outcome {
    let stage = Stage::build()?;
    for (step, signal) in [
        ("applied", Signal::SIGINT),
        ("applied", Signal::SIGTERM),
        ("applied", Signal::SIGHUP),
        ("before", Signal::SIGINT),
    ] {
        let mut run = stage.rehearse(SILENT, &["--timeout", "20"])?;
        run.until(step)?;
        run.signal(signal)?;
        tells(&run.ends(Some(4))?, &["interrupted"])?;
        stage.is_as_before()?;
    }
    Ok(())
}

fn the_guard_is_killed() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.rehearse(SILENT, &["--timeout", "20"])?;
    let guard = run.guard()?;
    run.until("applied")?;
    send(guard, Signal::SIGKILL)?;
    tells(&run.ends(Some(4))?, &["restored:", "the guard was ended"])?;
    stage.is_as_before()
}

fn guard_killed_at_question() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    let guard = run.guard()?;
    run.until("confirm")?;
    send(guard, Signal::SIGKILL)?;
    tells(&run.until("restored")?, &["the guard was ended"])?;
    run.ends(Some(4))?;
    stage.is_as_before()
}

/// As the system does when it goes down, or when a session's processes are ended.
fn the_guard_is_ended() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    let guard = run.guard()?;
    run.until("confirm")?;
    send(guard, Signal::SIGTERM)?;
    run.until("restored")?;
    run.ends(Some(4))?;
    stage.is_as_before()
}

/// The rehearsal waits no longer than the deadline for somebody who does not speak.
fn the_guard_is_stopped() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &["--deadline", "8"])?;
    let guard = run.guard()?;
    run.until("confirm")?;
    send(guard, Signal::SIGSTOP)?;
    tells(&run.until("restored")?, &["the guard was ended"])?;
    run.ends(Some(4))?;
    stage.is_as_before()
}

/// Without its tool nobody can bring anything back. That is said loudly, and what is needed later
/// stays.
fn unrestored() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    run.until("confirm")?;
    stage.without_nft(|| {
        run.answer("n\n")?;
        run.until("NOT RESTORED: try `tunnelcheck rehearse --restore`")?;
        run.ends(Some(5))?;
        Ok(())
    })?;
    stage.rehearse("", &["--restore"])?.ends(Some(0))?;
    stage.is_as_before()
}

/// As people copy them, with variables and a loop.
fn iptables_lines() -> Outcome {
    let stage = Stage::build()?;
    let lines = "\
#!/bin/sh
set -e
IPT=\"iptables --wait\"
for port in 53 7844; do
    $IPT -A OUTPUT -p udp --dport $port -j ACCEPT
    $IPT -A OUTPUT -p tcp --dport $port -j ACCEPT
done
$IPT -A OUTPUT -o lo -j ACCEPT
$IPT -P OUTPUT DROP
ip6tables -F OUTPUT
";
    stage.rehearse(lines, &[])?.ends(Some(4))?;
    stage.is_as_before()?;
    let cut =
        format!("{lines}iptables -I OUTPUT -p udp --dport 7844 -m comment --comment no -j DROP\n");
    let said = stage.rehearse(&cut, &["--yes"])?.ends(Some(2))?;
    tells(
        &said,
        &[
            "close what cloudflared needs",
            "chain OUTPUT",
            "--comment no",
        ],
    )?;
    tells_not(&said, &["applied:"])?;
    stage.is_as_before()?;
    stage.rehearse(lines, &["--yes"])?.ends(Some(0))?;
    stage.holds("udp dport 7844")
}

fn both_are_killed() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    let guard = run.guard()?;
    run.until("confirm")?;
    // Stopped, it cannot notice what happens to the guard.
    run.signal(Signal::SIGSTOP)?;
    send(guard, Signal::SIGKILL)?;
    run.signal(Signal::SIGKILL)?;
    run.ends(None)?;
    is_gone(guard)?;
    if !stage.is_left() {
        return Err("nothing is left to restore from".into());
    }
    let said = stage.rehearse(GOOD, &["--yes"])?.ends(Some(2))?;
    tells(&said, &["tunnelcheck rehearse --restore"])?;
    let said = stage.rehearse("", &["--restore"])?.ends(Some(0))?;
    tells(&said, &["restored:"])?;
    stage.is_as_before()?;
    let said = stage.rehearse("", &["--restore"])?.ends(Some(2))?;
    tells(&said, &["no rehearsal has left anything"])
}

fn the_terminal_goes() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    run.until("confirm")?;
    run.hang_up();
    run.ends(Some(4))?;
    stage.is_as_before()
}

fn the_terminal_goes_in_the_check() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(SILENT, &["--timeout", "20"])?;
    run.until("applied")?;
    run.hang_up();
    run.ends(Some(4))?;
    stage.is_as_before()
}

/// Rules of the old interface of the kernel, which nft does not see.
fn legacy_rules_come_back() -> Outcome {
    let stage = Stage::build()?;
    if stage
        .has(
            "iptables-legacy",
            &["-A", "OUTPUT", "-d", "192.0.2.1", "-j", "DROP"],
        )
        .is_err()
    {
        return no_legacy();
    }
    let before = stage.legacy()?;
    tells(&before, &["192.0.2.1"])?;
    let rules = "#!/bin/sh\niptables-legacy -F\niptables-legacy -P FORWARD DROP\n\
                 iptables-legacy -t nat -A OUTPUT -d 192.0.2.2 -j ACCEPT\n\
                 ip6tables-legacy -A OUTPUT -p udp --dport 7844 -m limit --limit 9999/s --limit-burst 9999 -j DROP\n";
    let said = stage.rehearse(rules, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["applied:", "restored:"])?;
    stage.is_as_before()?;
    let now = stage.legacy()?;
    // A table that the rules made cannot be deleted; it is there and lets everything through.
    if now.contains(&before) {
        return tells_not(&now, &["192.0.2.2", "7844", ":FORWARD DROP"]);
    }
    Err(format!("not as before\n--- before\n{before}\n--- now\n{now}").into())
}

/// A kernel without the old interface has no such rules to lose.
fn no_legacy() -> Outcome {
    match find("iptables-legacy") {
        Some(_) => Ok(()),
        None => Err("iptables-legacy is missing.\nRemedy: `apt-get install iptables`.".into()),
    }
}

/// An interface by its number exists in this namespace only; for the trial one of its name is made.
fn rules_of_this_namespace() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has("nft", &["add table inet numbered { chain in { type filter hook input priority 5; iif eth0 ip saddr 192.0.2.7 drop; }; }"])?;
    stage.look_again()?;
    let said = stage.rehearse(CUTS_UDP, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["tried out, they come back exactly", "restored:"])?;
    stage.is_as_before()
}

const MISREAD: &str = "add table ip raw { set some { type ipv4_addr; elements = { 192.0.2.5 }; }; \
                 chain OUTPUT { type filter hook output priority raw; ip daddr @some drop; }; }";

/// iptables-save shows a table of nft with its own names of chains, and shows it wrong: a set that
/// it cannot express becomes a rule for everybody.
fn misread_rules() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has("nft", &[MISREAD])?;
    stage.look_again()?;
    let said = stage.rehearse(CUTS_UDP, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["tried out, they come back exactly", "restored:"])?;
    stage.is_as_before()
}
