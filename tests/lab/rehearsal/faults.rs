//! Faults of the tools and of the system underneath: a tool that runs on, one that does not show
//! anything, an old rule that cannot be loaded any more.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::stage::{Stage, TIMEOUT, send, tells, tells_not};
use super::{CUTS_UDP, GOOD, GOOD_WORDS, MISREAD};
use crate::Outcome;
use crate::runner::{binary, ends_within};
use crate::sandbox::PATH;

/// The trials of such faults.
pub(super) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("rehearsal::{name}"), move || Ok(test()?))
    };
    vec![
        trial(
            "the-guard-is-killed-with-a-tool-at-work",
            guard_killed_with_a_tool_at_work,
        ),
        trial(
            "the-guard-is-stopped-with-a-tool-at-work",
            guard_stopped_with_a_tool_at_work,
        ),
        trial("killed-with-a-tool-at-work", killed_with_a_tool_at_work),
        trial(
            "the-guard-is-killed-while-it-restores",
            guard_killed_while_it_restores,
        ),
        trial("a-listing-fails", a_listing_fails),
        trial("nft-shows-nothing", nft_shows_nothing),
        trial("an-old-rule-cannot-come-back", an_old_rule_is_refused),
        trial("a-table-with-an-owner-among-others", an_owner_among_others),
        trial(
            "misread-rules-about-an-interface",
            misread_rules_of_this_namespace,
        ),
        trial("a-table-that-both-tools-have-made", a_table_of_both_tools),
        trial("the-guard-was-never-told-to-apply", a_guard_untold),
        trial("time-runs-out-in-the-check-after", time_runs_out),
    ]
}

/// Loads the rules, and goes on for ever, changing rules all the time.
const RESTLESS: &str = "\
if [ \"$1\" = -f ] && [ \"$2\" != - ]; then
    \"$REAL\" \"$@\"
    while true; do
        \"$REAL\" add table inet restless
        \"$REAL\" delete table inet restless
    done
fi";

/// The tool is ended before the old rules come back, or it would go on changing them.
fn guard_killed_with_a_tool_at_work() -> Outcome {
    let stage = Stage::build()?;
    stage.replaces("nft", RESTLESS)?;
    let mut run = stage.rehearse(GOOD, &[])?;
    let guard = run.guard()?;
    stage.shows(GOOD_WORDS)?;
    send(guard, Signal::SIGKILL)?;
    tells(&run.ends(Some(4))?, &["restored:", "the guard was ended"])?;
    stage.is_as_before()
}

fn guard_stopped_with_a_tool_at_work() -> Outcome {
    let stage = Stage::build()?;
    stage.replaces("nft", RESTLESS)?;
    let mut run = stage.rehearse(GOOD, &["--deadline", "8"])?;
    let guard = run.guard()?;
    stage.shows(GOOD_WORDS)?;
    send(guard, Signal::SIGSTOP)?;
    tells(&run.ends(Some(4))?, &["restored:", "the guard was ended"])?;
    stage.is_as_before()
}

fn killed_with_a_tool_at_work() -> Outcome {
    let stage = Stage::build()?;
    stage.replaces("nft", RESTLESS)?;
    let mut run = stage.rehearse(GOOD, &[])?;
    run.until("guard")?;
    stage.shows(GOOD_WORDS)?;
    run.signal(Signal::SIGKILL)?;
    run.ends(None)?;
    stage.comes_back_within(TIMEOUT)
}

/// Its tool would undo later what the rehearsal brings back now.
fn guard_killed_while_it_restores() -> Outcome {
    let stage = Stage::build()?;
    stage.replaces(
        "nft",
        "if [ -e \"$FAULT\" ] && [ \"$*\" = '-f -' ]; then\n\
         rm \"$FAULT\"; kill -9 $PPID; sleep 1; $REAL flush ruleset; exit; fi",
    )?;
    let mut run = stage.on_terminal(&format!("flush ruleset\n{GOOD}"), &[])?;
    run.until("confirm")?;
    fs::write(stage.fault(), "")?;
    run.answer("n\n")?;
    run.until("restored")?;
    run.ends(Some(4))?;
    if stage.fault().exists() {
        return Err("the guard was not killed".into());
    }
    stage.is_as_before()?;
    // Longer than the tool would have waited, had it been left.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    stage.is_as_before()
}

/// Everything comes back, although nobody can see that it has: exit code 5 tells to look.
fn a_listing_fails() -> Outcome {
    listing_fails("iptables-nft-save", "true", "`iptables-save`")
}

fn nft_shows_nothing() -> Outcome {
    listing_fails("nft", "[ \"$1\" = list ]", "`nft list ruleset`")
}

fn listing_fails(tool: &str, when: &str, named: &str) -> Outcome {
    let stage = Stage::build()?;
    let fault = format!("if [ -e \"$FAULT\" ] && {when}; then echo no view >&2; exit 1; fi");
    stage.replaces(tool, &fault)?;
    let mut run = stage.on_terminal(&format!("flush ruleset\n{GOOD}"), &[])?;
    run.until("confirm")?;
    fs::write(stage.fault(), "")?;
    run.answer("n\n")?;
    let told = run.until("NOT RESTORED: the old rules are NOT back")?;
    tells(&told, &[named, "no view"])?;
    run.until("NOT RESTORED: try")?;
    run.ends(Some(5))?;
    stage.rules_are_as_before()?;
    fs::remove_file(stage.fault())?;
    stage.rehearse("", &["--restore"])?.ends(Some(0))?;
    stage.is_as_before()
}

const MIDDLE: &str = "add table inet middle { chain in { type filter hook input priority 5; \
                 ip saddr 192.0.2.5 drop; ip saddr 192.0.2.6 drop; }; }";
const LAST: &str = "add table inet last { chain in { ip saddr 192.0.2.8 drop; }; }";
const NUMBERED: &str = "add table inet numbered { chain in { type filter hook input priority 5; \
                    iif eth0 ip saddr 192.0.2.7 drop; }; }";

/// An interface is gone when its rule is to come back. That rule is named, and all others are back.
fn an_old_rule_is_refused() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has(
        "ip",
        &["link", "add", "gone0", "type", "veth", "peer", "gone1"],
    )?;
    stage.has("nft", &[MIDDLE])?;
    stage.has(
        "nft",
        &["add table inet last { chain in { ip saddr 192.0.2.8 drop; }; }"],
    )?;
    stage.look_again()?;
    stage.has(
        "nft",
        &["insert rule inet middle in iif gone0 ip saddr 192.0.2.7 drop"],
    )?;
    let mut run = stage.on_terminal(&format!("flush ruleset\n{GOOD}"), &[])?;
    run.until("confirm")?;
    stage.has("ip", &["link", "del", "gone0"])?;
    run.answer("n\n")?;
    let told = run.until("NOT RESTORED: the old rules are NOT back")?;
    tells(
        &told,
        &[
            "table inet middle is back without `iif \"gone0\"",
            "192.0.2.7",
        ],
    )?;
    tells_not(&told, &["inet own", "inet last", "ip filter"])?;
    run.until("NOT RESTORED: try")?;
    run.ends(Some(5))?;
    stage.rules_are_as_before()
}

/// A program of nft whose table goes with it, and that nobody else can change.
struct Owner(Child);

impl Owner {
    fn of(stage: &Stage, commands: &str) -> Outcome<Self> {
        let mut command = Command::new("nft");
        command.arg("--interactive").env("PATH", PATH);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut owner = Self(stage.spawn(command)?);
        let keys = owner.0.stdin.as_mut().ok_or("no standard input")?;
        keys.write_all(commands.as_bytes())?;
        keys.flush()?;
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A table that nobody can change stays where it is, so others come to stand after it.
fn an_owner_among_others() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has("nft", &[LAST])?;
    stage.look_again()?;
    stage.has("nft", &["delete table inet last"])?;
    let owner = Owner::of(&stage, "add table inet owned { flags owner; }\n")?;
    stage.shows("table inet owned")?;
    stage.has("nft", &[LAST])?;
    let said = stage.rehearse(CUTS_UDP, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["restored:"])?;
    stage.shows("table inet owned")?;
    drop(owner);
    stage.is_as_before()
}

/// Each table comes back by the tool that makes it as it was, and iptables gets none of those that it
/// misreads.
fn misread_rules_of_this_namespace() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has("nft", &[MISREAD])?;
    stage.has("nft", &[NUMBERED])?;
    // Without a set, and still another rule when iptables makes it.
    stage.has(
        "nft",
        &["add table ip security { chain INPUT { type filter hook input priority security; iif eth0 ip saddr 192.0.2.7 drop; }; }"],
    )?;
    stage.look_again()?;
    let said = stage.rehearse(CUTS_UDP, &["--yes"])?.ends(Some(1))?;
    tells(&said, &["tried out, they come back exactly", "restored:"])?;
    stage.is_as_before()
}

/// What nft made in a table of iptables iptables makes differently, and the other way round: a mark
/// that nft has set again iptables cannot even read.
fn a_table_of_both_tools() -> Outcome {
    let mut stage = Stage::build()?;
    stage.has(
        "nft",
        &["add table ip mangle { chain INPUT { type filter hook input priority mangle; iif eth0 ip saddr 192.0.2.7 drop; }; }"],
    )?;
    stage.look_again()?;
    let said = stage.rehearse(CUTS_UDP, &["--yes"])?.ends(Some(2))?;
    tells(&said, &["table ip mangle", "nothing was touched"])?;
    tells_not(&said, &["applied:"])?;
    stage.is_as_before()
}

/// The files of a rehearsal.
const LEFT: &str = "/run/tunnelcheck/rehearsal";

/// A guard whose rehearsal ends before it says anything leaves all rules alone, whoever changed them.
fn a_guard_untold() -> Outcome {
    let stage = Stage::build()?;
    let mut run = stage.on_terminal(GOOD, &[])?;
    run.until("confirm")?;
    let client = &stage.world.topology.client;
    let files = client.run(|| -> Outcome<Vec<(String, Vec<u8>)>> {
        let home = Path::new(LEFT);
        let mut files = Vec::new();
        for entry in fs::read_dir(home)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "touched" {
                files.push((name, fs::read(entry.path())?));
            }
        }
        Ok(files)
    })?;
    run.answer("n\n")?;
    run.until("restored")?;
    run.ends(Some(4))?;
    client.run(move || -> Outcome {
        let home = Path::new(LEFT);
        fs::create_dir(home)?;
        for (name, bytes) in &files {
            fs::write(home.join(name), bytes)?;
        }
        Ok(())
    })?;
    stage.has("nft", &["add table inet meanwhile"])?;
    let mut command = Command::new(binary());
    command.args(["rehearsal-guard", "60000"]).env("PATH", PATH);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guard = stage.spawn(command)?;
    let words = guard.stdout.take().ok_or("no standard output")?;
    let mut words = BufReader::new(words).lines();
    tells(&words.next().ok_or("no word")??, &["ready"])?;
    drop(guard.stdin.take());
    tells(&words.next().ok_or("no last word")??, &["untouched"])?;
    ends_within(&mut guard, TIMEOUT)?.ok_or("does not end")?;
    stage.shows("table inet meanwhile")?;
    stage.nothing_is_left()
}

/// One address of many is dropped, and the time does not suffice to prove it. That it passed before
/// and is not known now is reason enough to look longer, or to let the rules go.
fn time_runs_out() -> Outcome {
    let stage = Stage::build()?;
    let cuts_one = "table inet bad {\n\tchain out {\n\
                    \t\ttype filter hook output priority 0; policy accept;\n\
                    \t\tlimit rate 1000000/second ip daddr 198.41.192.7 udp dport 7844 drop\n\t}\n}\n";
    let short = ["--yes", "--timeout", "0.7"];
    let hasty = [&short[..], &["--deadline", "2"]].concat();
    let said = stage.rehearse(cuts_one, &hasty)?.ends(Some(4))?;
    tells(
        &said,
        &["no longer certain", "198.41.192.7", "more time may help"],
    )?;
    stage.is_as_before()?;
    let said = stage.rehearse(cuts_one, &short)?.ends(Some(1))?;
    tells(&said, &["checking again", "something required was lost"])?;
    stage.is_as_before()?;
    stage.rehearse(GOOD, &short)?.ends(Some(0))?;
    stage.holds(GOOD_WORDS)
}
