//! A host with a firewall on which rules are rehearsed, and a hold on the program that does it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount, umount};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::runner::{World, binary, ends_within};
use crate::sandbox::{PATH, find, tool};
use crate::scenario::Scenario;
use crate::topology::cover;

/// Nothing that is waited for takes longer, unless it never comes.
pub(super) const TIMEOUT: Duration = Duration::from_secs(25);

/// A firewall with everything in it that is hard to bring back: sets, maps, counters with numbers in
/// them, matches of iptables that nft cannot read, tables of both tools in turns. No packet of a trial
/// meets a rule's counter, so the listings are the same to the last byte, those numbers included.
const OLD_V4: &str = "\
*filter
:INPUT ACCEPT [1000:9999]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:OWN - [0:0]
[3:99] -A INPUT -s 192.0.2.1 -m comment --comment \"a comment\" -j ACCEPT
[0:0] -A INPUT -s 192.0.2.0/24 -j OWN
[0:0] -A OWN -m hashlimit --hashlimit-above 5/sec --hashlimit-name own -j DROP
[0:0] -A OWN -m limit --limit 5/min -j LOG --log-prefix \"own: \"
COMMIT
";
const OLD_NFT: &str = "
table inet own {
	counter named { packets 7 bytes 186; }
	quota most { over 10 mbytes used 5 bytes; }
	set nets { type ipv4_addr; flags interval; counter; elements = { 192.0.2.0/24 counter packets 4 bytes 44 } }
	map ways { type inet_service : verdict; elements = { 9 : drop, 19 : accept } }
	chain in {
		type filter hook input priority 10; policy accept;
		ip saddr @nets counter packets 5 bytes 55 drop
		ip saddr 192.0.2.9 tcp dport vmap @ways
		ip saddr 192.0.2.9 counter name named
		ip saddr 192.0.2.9 limit rate 5/second burst 3 packets accept comment \"quo te\"
	}
}
table ip other {
	chain input {
		type filter hook input priority 0; policy accept;
		ip saddr 192.0.2.3 drop
	}
}
";
const OLD_V6: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
[1:2] -A OUTPUT -d 2001:db8::/32 -p tcp -m tcp --dport 80 -j REJECT
COMMIT
";
const OLD_MANGLE: &str = "\
*mangle
:OUTPUT ACCEPT [0:0]
[8:88] -A OUTPUT -d 192.0.2.1 -j MARK --set-mark 3
COMMIT
";

/// The tables of that firewall, and those that trials add to it.
const OLD_TABLES: [&str; 9] = [
    "filter", "own", "other", "mangle", "raw", "security", "numbered", "middle", "last",
];

/// A world whose client has that firewall, a `/run` of its own, and a file of new rules.
pub(super) struct Stage {
    pub(super) world: World,
    files: tempfile::TempDir,
    /// What sshd says of the session that the program is in.
    pub(super) ssh: &'static str,
    /// What the tools listed before anything was rehearsed.
    before: Listing,
}

/// What `nft list ruleset`, `iptables-save -c` and `ip6tables-save -c` print, without the dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing([String; 3]);

impl Stage {
    pub(super) fn build() -> Outcome<Self> {
        let scenario = "name = 'rehearsal'\nabout = 'a host whose firewall is changed'\n\
                        expect = { verdict = 'ready', exit_code = 0 }";
        let scenario: Scenario = toml::from_str(scenario)?;
        let world = World::build(&scenario)?;
        let before = world.topology.client.run(|| {
            own_run()?;
            tool("iptables-restore", &["--counters"], OLD_V4)?;
            tool("nft", &["-f", "-"], OLD_NFT)?;
            tool("ip6tables-restore", &["--counters"], OLD_V6)?;
            tool("iptables-restore", &["--counters", "--noflush"], OLD_MANGLE)?;
            list()
        })?;
        Ok(Self {
            world,
            files: tempfile::tempdir()?,
            ssh: "",
            before,
        })
    }

    /// Starts a rehearsal without a terminal.
    pub(super) fn rehearse(&self, rules: &str, arguments: &[&str]) -> Outcome<Run> {
        let mut command = self.command(rules, arguments)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self.world.topology.client.run(move || command.spawn())?;
        let words = child.stderr.take().ok_or("no standard error")?;
        Ok(Run::new(child, words, None))
    }

    /// Starts a rehearsal in a session of its own on a terminal, as a login does.
    pub(super) fn on_terminal(&self, rules: &str, arguments: &[&str]) -> Outcome<Run> {
        let (keys, terminal) = terminal()?;
        let child = self.spawn(self.terminal_command(rules, arguments, terminal)?)?;
        let gone = Arc::new(AtomicBool::new(false));
        let screen = Screen {
            terminal: keys.try_clone()?,
            gone: Arc::clone(&gone),
        };
        let mut run = Run::new(child, screen, Some(keys));
        run.gone = gone;
        Ok(run)
    }

    pub(super) fn terminal_command(
        &self,
        rules: &str,
        arguments: &[&str],
        terminal: File,
    ) -> Outcome<Command> {
        let product = self.command(rules, arguments)?;
        // `setsid --ctty` makes the terminal that of the session.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(product.get_program());
        command.args(product.get_args());
        for (name, value) in product.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal);
        Ok(command)
    }

    pub(super) fn spawn(&self, mut command: Command) -> Outcome<Child> {
        Ok(self.world.topology.client.run(move || command.spawn())?)
    }

    fn command(&self, rules: &str, arguments: &[&str]) -> Outcome<Command> {
        let file = self.files.path().join("rules");
        std::fs::write(&file, rules)?;
        let mut command = Command::new(binary());
        command.arg("rehearse");
        if !rules.is_empty() {
            command.arg(file).arg("--no-optional");
        }
        if !rules.is_empty() && !arguments.contains(&"--timeout") {
            command.args(["--timeout", "5"]);
        }
        let deletes = rules.contains("flush ruleset") || rules.starts_with("*filter");
        if deletes && !arguments.contains(&"--may-remove") {
            command.args(OLD_TABLES.iter().flat_map(|table| ["--may-remove", table]));
        }
        command
            .args(arguments)
            .env("SSH_CONNECTION", self.ssh)
            .env("PATH", format!("{}:{PATH}", self.tools().display()))
            .env("TERM", "dumb")
            .env("SSL_CERT_FILE", self.world.trust_store());
        Ok(command)
    }

    /// Where the program looks for its tools first.
    fn tools(&self) -> PathBuf {
        self.files.path().join("bin")
    }

    /// Puts a shell script in the place of a tool, as the program sees it; `$REAL` is the tool, and
    /// `$FAULT` a file that is there while [`Stage::fault`] is on.
    pub(super) fn replaces(&self, name: &str, script: &str) -> Outcome {
        let real = find(name).ok_or(format!("{name} is missing"))?;
        let fault = self.fault();
        let text = format!(
            "#!/bin/sh\nREAL={}\nFAULT={}\n{script}\nexec \"$REAL\" \"$@\"\n",
            real.display(),
            fault.display()
        );
        std::fs::create_dir_all(self.tools())?;
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o755);
        Ok(options
            .open(self.tools().join(name))?
            .write_all(text.as_bytes())?)
    }

    /// The file whose presence makes the tools of [`Stage::replaces`] fail.
    pub(super) fn fault(&self) -> PathBuf {
        self.files.path().join("fault")
    }

    /// What is in force now.
    pub(super) fn listing(&self) -> Outcome<Listing> {
        self.world.topology.client.run(list)
    }

    /// Runs a tool of the firewall there: these rules have been in force for long.
    pub(super) fn has(&self, name: &'static str, arguments: &'static [&'static str]) -> Outcome {
        let client = &self.world.topology.client;
        client.run(move || tool(name, arguments, "").map(drop))
    }

    /// Has these rules in force for long, in place of the usual ones.
    pub(super) fn has_only(&mut self, rules: &'static str) -> Outcome {
        let client = &self.world.topology.client;
        client.run(move || {
            tool("nft", &["flush", "ruleset"], "")?;
            tool("nft", &["-f", "-"], rules).map(drop)
        })?;
        self.look_again()
    }

    /// Gives the client users of these names, beginning with the number 4711.
    pub(super) fn has_users(&self, names: &[&str]) -> Outcome {
        let file = self.files.path().join("passwd");
        let users = names.iter().zip(4711..);
        let users = users.map(|(name, id)| format!("{name}:x:{id}:{id}::/:/bin/false\n"));
        let users = std::fs::read_to_string("/etc/passwd")? + &users.collect::<String>();
        std::fs::write(&file, users)?;
        let client = &self.world.topology.client;
        client.run(move || cover(&file, Path::new("/etc/passwd")))
    }

    /// What is in force now is what has to come back.
    pub(super) fn look_again(&mut self) -> Outcome {
        self.before = self.listing()?;
        Ok(())
    }

    /// The rules of the kernel's old interface, without what packets count.
    pub(super) fn legacy(&self) -> Outcome<String> {
        self.world.topology.client.run(|| {
            let saves = ["iptables-legacy-save", "ip6tables-legacy-save"];
            let texts = saves.map(|save| tool(save, &[], ""));
            let [v4, v6] = texts;
            let lines = [v4?, v6?].concat();
            let lines = lines.lines().filter(|line| !line.starts_with('#'));
            Ok(without_policies(&lines.collect::<Vec<_>>().join("\n")))
        })
    }

    /// What is true of the rules once they are as before, to the last byte, and nothing is left.
    pub(super) fn is_as_before(&self) -> Outcome {
        self.rules_are_as_before()?;
        self.nothing_is_left()
    }

    /// The same where files may be left.
    pub(super) fn rules_are_as_before(&self) -> Outcome {
        let now = self.listing()?;
        for (old, new) in self.before.0.iter().zip(&now.0) {
            if without_policies(old) != without_policies(new) {
                return Err(format!("not as before\n--- before\n{old}\n--- now\n{new}").into());
            }
            let (before, now) = (policies(old), policies(new));
            if before.iter().zip(&now).any(|(before, now)| now < before) {
                return Err(format!("counters began anew: {before:?}, {now:?}").into());
            }
        }
        Ok(())
    }

    /// Waits until this stands in the listing of nft.
    pub(super) fn shows(&self, words: &str) -> Outcome {
        let end = Instant::now() + TIMEOUT;
        loop {
            let Listing([nft, ..]) = self.listing()?;
            if nft.contains(words) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("`{words}` is not in force:\n{nft}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn nothing_is_left(&self) -> Outcome {
        if self.is_left() {
            Err("the files of the rehearsal are left".into())
        } else {
            Ok(())
        }
    }

    /// Whether a rehearsal's files are there.
    pub(super) fn is_left(&self) -> bool {
        let exists = || Path::new("/run/tunnelcheck/rehearsal").exists();
        self.world.topology.client.run(exists)
    }

    /// Waits until the rules are as before, where nobody is left to say so.
    pub(super) fn comes_back_within(&self, timeout: Duration) -> Outcome {
        let end = Instant::now() + timeout;
        loop {
            match self.is_as_before() {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > end => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Does something while `nft` is a program that fails.
    pub(super) fn without_nft(&self, work: impl FnOnce() -> Outcome) -> Outcome {
        let [nft, fails] = ["nft", "false"].map(|name| find(name).ok_or(name));
        let (nft, fails) = (nft?, fails?);
        let covered = nft.clone();
        let client = &self.world.topology.client;
        client.run(move || cover(&fails, &covered))?;
        let done = work();
        let uncovered = client.run(move || umount(&nft));
        done.and(uncovered.map_err(|errno| format!("nft: {errno}").into()))
    }

    /// What is true of rules that were kept: the old ones are there, and these words as well.
    pub(super) fn holds(&self, words: &str) -> Outcome {
        let Listing([nft, ..]) = self.listing()?;
        if nft.contains(words) && nft.contains("table inet own") {
            return self.nothing_is_left();
        }
        Err(format!("`{words}` is not in force:\n{nft}").into())
    }
}

/// A new terminal: the side of whoever types, and the side of programs. Neither is inherited by
/// what other trials start at the same time: a terminal is gone when its last copy is closed.
pub(super) fn terminal() -> Outcome<(File, File)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let keys = posix_openpt(flags)?;
    grantpt(&keys)?;
    unlockpt(&keys)?;
    let mut options = File::options();
    options.read(true).write(true);
    options.custom_flags(OFlag::O_NOCTTY.bits());
    let terminal = options.open(ptsname_r(&keys)?)?;
    Ok((File::from(OwnedFd::from(keys)), terminal))
}

/// Nothing of the machine's own `/run` is seen or written.
fn own_run() -> Outcome {
    let options = Some("mode=755");
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .map_err(|errno| format!("/run: {errno}").into())
}

fn list() -> Outcome<Listing> {
    let without_dates = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    Ok(Listing([
        tool("nft", &["list", "ruleset"], "")?,
        without_dates(tool("iptables-save", &["-c"], "")?),
        without_dates(tool("ip6tables-save", &["-c"], "")?),
    ]))
}

/// The policies of chains count every packet of a trial: their numbers are left out here …
fn without_policies(listing: &str) -> String {
    let without = |line: &str| match line.split_once(" [") {
        Some((chain, _)) if line.starts_with(':') => format!("{chain}\n"),
        _ => format!("{line}\n"),
    };
    listing.lines().map(without).collect()
}

/// … and here they are, the packets of each chain.
fn policies(listing: &str) -> Vec<u64> {
    let chains = listing.lines().filter(|line| line.starts_with(':'));
    let packets = chains.filter_map(|line| line.split_once(" [")?.1.split_once(':'));
    packets
        .filter_map(|(packets, _)| packets.parse().ok())
        .collect()
}

/// A rehearsal that is under way.
pub(super) struct Run {
    child: Child,
    lines: Receiver<String>,
    /// Everything that it has said.
    pub(super) said: Vec<String>,
    /// The other end of its terminal.
    keys: Option<File>,
    /// Whether nobody is there to look at it any more.
    gone: Arc<AtomicBool>,
}

/// What a terminal shows, until nobody looks: a terminal is gone when its last copy is closed.
struct Screen {
    terminal: File,
    gone: Arc<AtomicBool>,
}

impl Read for Screen {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while !self.gone.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, 10_u8)? > 0 {
                return self.terminal.read(buffer);
            }
        }
        Ok(0)
    }
}

impl Run {
    pub(super) fn new(child: Child, words: impl Read + Send + 'static, keys: Option<File>) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // A terminal that nobody is on any more is an error, which is an end as well.
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                if sender.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
            keys,
            gone: Arc::default(),
        }
    }

    /// Waits for a line that begins like this, and returns the rest of it.
    pub(super) fn until(&mut self, step: &str) -> Outcome<String> {
        let end = Instant::now() + TIMEOUT;
        loop {
            let wait = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(wait);
            let line = line.map_err(|_| format!("no `{step}`:\n{}", self.said.join("\n")))?;
            self.said.push(line.clone());
            if let Some(rest) = line.strip_prefix(step) {
                return Ok(rest.trim_start_matches(':').trim().to_owned());
            }
        }
    }

    /// Waits for the guard, and returns its process.
    pub(super) fn guard(&mut self) -> Outcome<i32> {
        let line = self.until("guard: process")?;
        let number = line.split(' ').next().unwrap_or_default();
        Ok(number.parse()?)
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome {
        send(i32::try_from(self.child.id())?, signal)
    }

    pub(super) fn answer(&mut self, text: &str) -> Outcome {
        let keys = self.keys.as_mut().ok_or("no terminal")?;
        Ok(keys.write_all(text.as_bytes())?)
    }

    /// The terminal goes, as when a window is closed or a connection is lost.
    pub(super) fn hang_up(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        drop(self.keys.take());
    }

    /// Waits for the end, which must have this exit code; `None` is an end by a signal.
    pub(super) fn ends(&mut self, code: Option<i32>) -> Outcome<String> {
        let status = ends_within(&mut self.child, TIMEOUT)?;
        let status = status.ok_or_else(|| format!("does not end:\n{}", self.said.join("\n")))?;
        // The last words come when the last copy of their way is closed.
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            self.said.push(line);
        }
        let said = self.said.join("\n");
        if status.code() == code {
            return Ok(said);
        }
        Err(format!("{status} and not {code:?}:\n{said}").into())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Of a trial that has failed; the guard goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn send(process: i32, signal: Signal) -> Outcome {
    kill(Pid::from_raw(process), signal).map_err(|errno| format!("{signal}: {errno}").into())
}

/// Waits until a process that was killed holds no file any more.
pub(super) fn is_gone(process: i32) -> Outcome {
    let end = Instant::now() + TIMEOUT;
    let stat = Path::new("/proc").join(process.to_string()).join("stat");
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        if Instant::now() > end {
            return Err(format!("process {process} does not end").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether a text holds none of these.
pub(super) fn tells_not(text: &str, words: &[&str]) -> Outcome {
    match words.iter().find(|word| text.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("`{word}` is there:\n{text}").into()),
    }
}

/// Whether a text holds all of these.
pub(super) fn tells(text: &str, words: &[&str]) -> Outcome {
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("nothing about `{word}`:\n{text}").into()),
    }
}

/// Whether the outcome is the last line: nothing comes after it that no longer holds.
pub(super) fn ends_with(said: &str, outcome: &str) -> Outcome {
    let last = said.lines().rfind(|line| !line.is_empty());
    match last.filter(|line| line.starts_with(outcome)) {
        Some(_) => Ok(()),
        None => Err(format!("`{outcome}` is not the last line:\n{said}").into()),
    }
}
