//! The product while somebody edits the firewall: `--watch`, `--baseline` and `diff`.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::runner::{World, ends_within};
use crate::sandbox::tool;
use crate::scenario;
use crate::terminal::Screen;

/// Longer than two checks of a network that drops packets, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// So long that the rules can be changed between two checks: one of a network that drops UDP takes a
/// second and a half.
const INTERVAL: &str = "4";

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn() -> Outcome| {
        Trial::test(format!("watch::{name}"), move || Ok(run()?))
    };
    vec![
        trial("each-change-is-a-line", each_change_is_a_line),
        trial(
            "a-terminal-is-redrawn-in-place",
            a_terminal_is_redrawn_in_place,
        ),
        trial("before-and-after", before_and_after),
    ]
}

fn open_world() -> Outcome<World> {
    let scenarios = scenario::load()?;
    let open = scenarios
        .iter()
        .find(|scenario| scenario.name == "all-open");
    World::build(open.ok_or("there is no scenario all-open")?)
}

/// Drops what is sent to UDP port 7844, or does not any longer.
fn drop_udp(world: &World, dropped: bool) -> Outcome {
    let rule = if dropped { "udp dport 7844 drop" } else { "" };
    let rules = format!(
        "table inet edited\ndelete table inet edited\ntable inet edited {{\nchain forward {{\n\
         type filter hook forward priority 0; policy accept;\n{rule}\n}}\n}}\n"
    );
    world
        .topology
        .router
        .run(move || tool("nft", &["-f", "-"], &rules))?;
    Ok(())
}

fn start(world: &World, mut command: Command) -> Outcome<Child> {
    Ok(world.topology.client.run(move || command.spawn())?)
}

fn interrupt(child: &Child) -> Outcome {
    Ok(kill(
        Pid::from_raw(i32::try_from(child.id())?),
        Signal::SIGINT,
    )?)
}

/// Waits for the end, which a child that was interrupted has at once.
fn exit_code(mut child: Child) -> Outcome<Option<i32>> {
    let status = ends_within(&mut child, DEADLINE)?;
    Ok(status
        .ok_or("it does not end when it is interrupted")?
        .code())
}

/// The lines of a child as they come.
fn lines_of(child: &mut Child) -> Outcome<Receiver<String>> {
    let (sender, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

/// What changes with UDP: the rows, and what follows from them.
fn course_of_udp(from: [&str; 4], to: [&str; 4], finding: &str) -> Vec<String> {
    let [verdict, suggested, quic, row] = [0, 1, 2, 3].map(|i| format!("{} -> {}", from[i], to[i]));
    let mut expected = vec![
        format!("verdict: {verdict}: "),
        format!("suggested protocol: {suggested}"),
        format!("quic: {quic}"),
    ];
    for region in ["region1", "region2"] {
        for family in ["IPv4", "IPv6"] {
            expected.push(format!("{region} quic {family}: {row}"));
        }
    }
    expected.push(format!(
        "finding udp-dropped: {finding}: error: UDP 7844 is dropped in silence"
    ));
    expected
}

const OPEN: [&str; 4] = ["ready", "quic", "ready", "reachable"];
const DROPPED: [&str; 4] = ["degraded", "http2", "blocked", "blocked (dropped)"];

/// The next lines have to be these, with a time in front. How many addresses were settled in time may
/// vary, and the verdict's sentence is its own affair.
fn expect(lines: &Receiver<String>, expected: &[String]) -> Outcome {
    for words in expected {
        let line = lines.recv_timeout(DEADLINE)?;
        let (time, text) = line.split_once(' ').unwrap_or_default();
        time.parse::<jiff::Timestamp>()
            .map_err(|why| format!("{line}: {why}"))?;
        let told: String = text
            .split_inclusive(" addresses")
            .map(without_count)
            .collect();
        if !told.starts_with(words.as_str()) {
            return Err(format!("expected `{words}`, told was `{line}`").into());
        }
    }
    Ok(())
}

/// A text without a count of addresses at its end.
fn without_count(text: &str) -> &str {
    match text
        .strip_suffix(" addresses")
        .and_then(|rest| rest.rsplit_once(", "))
    {
        Some((rest, _)) => rest,
        None => text,
    }
}

fn each_change_is_a_line() -> Outcome {
    let world = open_world()?;
    let mut command = world.product();
    command.args(["--watch", INTERVAL]).stdout(Stdio::piped());
    let mut child = start(&world, command)?;
    let lines = lines_of(&mut child)?;
    expect(
        &lines,
        &["ready: cloudflared can connect over quic".to_owned()],
    )?;
    drop_udp(&world, true)?;
    expect(&lines, &course_of_udp(OPEN, DROPPED, "new"))?;
    drop_udp(&world, false)?;
    expect(&lines, &course_of_udp(DROPPED, OPEN, "gone"))?;
    drop_udp(&world, true)?;
    expect(&lines, &course_of_udp(OPEN, DROPPED, "new"))?;
    interrupt(&child)?;
    let code = exit_code(child)?;
    if code != Some(3) {
        return Err(format!("the last verdict is degraded, and it exits {code:?}").into());
    }
    match lines.recv_timeout(DEADLINE) {
        Ok(line) => Err(format!("one line too many: {line}").into()),
        Err(_) => Ok(()),
    }
}

/// Reads what is drawn until the screen holds the words, and gives the screen.
fn wait_for(screen: &mut Screen, drawn: &Receiver<Vec<u8>>, words: &[&str]) -> Outcome<String> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = screen.lines().join("\n");
        if words.iter().all(|words| text.contains(words)) {
            return Ok(text);
        }
        let bytes = drawn
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .map_err(|_| format!("{words:?} do not come to the screen:\n{text}"))?;
        screen.draw(std::str::from_utf8(&bytes)?)?;
    }
}

/// What is written to the other end of a terminal, a write at a time at most, never within a character.
fn drawn_on(master: OwnedFd) -> Receiver<Vec<u8>> {
    let (sender, drawn) = channel();
    std::thread::spawn(move || {
        let mut master = std::fs::File::from(master);
        let (mut buffer, mut rest) = ([0; 4096], Vec::new());
        while let Ok(length @ 1..) = master.read(&mut buffer) {
            rest.extend_from_slice(&buffer[..length]);
            let valid = match std::str::from_utf8(&rest) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
            let later = rest.split_off(valid);
            if sender.send(std::mem::replace(&mut rest, later)).is_err() {
                break;
            }
        }
    });
    drawn
}

fn a_terminal_is_redrawn_in_place() -> Outcome {
    let world = open_world()?;
    // Narrower than the table likes, and lower than the report is long.
    let (columns, rows) = (38, 16);
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None)?;
    // Trials beside this one start programs, which must not keep this terminal open.
    for end in [&pty.master, &pty.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let mut command = world.product();
    command
        .args(["--watch", INTERVAL])
        .env("TERM", "xterm")
        .stdout(Stdio::from(pty.slave.try_clone()?))
        .stderr(Stdio::from(pty.slave));
    let child = start(&world, command)?;
    let drawn = drawn_on(pty.master);
    let mut screen = Screen::new(columns.into(), rows.into());
    wait_for(&mut screen, &drawn, &["Every 4 s", "READY", "more lines"])?;
    drop_udp(&world, true)?;
    let text = wait_for(&mut screen, &drawn, &["DEGRADED", "verdict: ready"])?;
    if text.contains("READY") {
        return Err(format!("something is left of the drawing before:\n{text}").into());
    }
    interrupt(&child)?;
    let code = exit_code(child)?;
    while let Ok(bytes) = drawn.recv_timeout(DEADLINE) {
        screen.draw(std::str::from_utf8(&bytes)?)?;
    }
    match (screen.cleared, code) {
        (1, Some(3)) => Ok(()),
        other => Err(format!("cleared so often, exit code: {other:?}").into()),
    }
}

/// Runs the product to its end.
fn run(world: &World, arguments: &[&std::ffi::OsStr]) -> Outcome<Output> {
    let mut command = world.product();
    command.args(arguments);
    Ok(world.topology.client.run(move || command.output())?)
}

fn before_and_after() -> Outcome {
    let world = open_world()?;
    let (before, after) = (world.path("before.json"), world.path("after.json"));
    let [baseline, output, diff, quiet] =
        ["--baseline", "--output", "diff", "-q"].map(std::ffi::OsStr::new);
    let (before, after) = (before.as_os_str(), after.as_os_str());
    let mut told = Vec::new();
    let mut step = |arguments: &[&std::ffi::OsStr]| -> Outcome {
        let run = run(&world, arguments)?;
        told.push((
            run.status.code(),
            String::from_utf8_lossy(&run.stdout).into_owned(),
        ));
        Ok(())
    };
    step(&[output, before, quiet])?;
    step(&[baseline, before, quiet])?;
    drop_udp(&world, true)?;
    step(&[baseline, before, output, after, quiet])?;
    drop_udp(&world, false)?;
    step(&[diff, before, after, quiet])?;
    step(&[diff, after, before, quiet])?;
    step(&[baseline, after, quiet])?;
    let codes: Vec<_> = told.iter().map(|(code, _)| *code).collect();
    let expected = [0, 0, 1, 1, 0, 0].map(Some);
    let worse = "WORSE  Got worse: verdict, quic, region1 quic IPv4, region1 quic IPv6, \
                 region2 quic IPv4, region2 quic IPv6.\n";
    let same = told[2].1.ends_with(worse) && told[3].1 == worse;
    if codes == expected && same && told[1].1.ends_with("NOT WORSE  Nothing is different.\n") {
        return Ok(());
    }
    Err(format!("expected exit codes {expected:?}; this was told: {told:#?}").into())
}
