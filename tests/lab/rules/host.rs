//! The host that is to be closed: its firewall, with the real tools and with configuration of its own.
//!
//! ufw and firewalld keep theirs in /etc and /run. Each host gets both as mounts of its own, so that
//! nothing of this machine is touched, and so that it works in a user namespace, where the machine's
//! own files cannot even be read.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use super::Leaving;
use crate::Outcome;
use crate::runner::World;
use crate::sandbox::{PATH, find, tool};

/// A firewall that the product writes rules for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firewall {
    Nftables,
    Iptables,
    Ufw,
    Firewalld,
}

impl Firewall {
    pub(crate) const ALL: [Self; 4] = [Self::Nftables, Self::Iptables, Self::Ufw, Self::Firewalld];

    /// The word of `--format`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
        }
    }

    /// Whether a session that is older than connection tracking goes on when the server speaks first.
    /// ufw and firewalld have no words for a packet that opens no connection: with them it goes on
    /// with the client's next packet.
    pub(crate) fn keeps_untracked_sessions(self) -> bool {
        matches!(self, Self::Nftables | Self::Iptables)
    }

    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Nftables => &["nft"],
            Self::Iptables => &["iptables-restore", "ip6tables-restore"],
            Self::Ufw => &["ufw"],
            Self::Firewalld => &["firewalld", "firewall-cmd", "dbus-daemon"],
        }
    }
}

/// The client of a world, with a firewall that is ready to be told.
pub(crate) struct Host<'a> {
    world: &'a World,
    firewall: Firewall,
    /// Ended with the host.
    _daemons: Vec<Daemon>,
}

impl<'a> Host<'a> {
    pub(crate) fn start(world: &'a World, firewall: Firewall) -> Outcome<Self> {
        require(firewall.tools())?;
        let mut daemons = Vec::new();
        match firewall {
            Firewall::Nftables | Firewall::Iptables => {}
            Firewall::Ufw => own_ufw(world)?,
            Firewall::Firewalld => daemons = own_firewalld(world)?,
        }
        Ok(Self {
            world,
            firewall,
            _daemons: daemons,
        })
    }

    /// Applies a rule file as its header says.
    pub(crate) fn apply(&self, text: &str) -> Outcome {
        let file = self.world.path("rules");
        fs::write(&file, text)?;
        let file = file.display();
        self.shell(&match self.firewall {
            Firewall::Nftables => format!("nft --check --file {file} && nft --file {file}"),
            _ => format!("sh {file}"),
        })?;
        // The header of the plain rules asks for this line, once.
        if self.firewall == Firewall::Nftables && text.contains("table inet filter") {
            self.shell(
                "nft list chain inet filter output | grep -q 'jump tunnelcheck' ||
                 nft insert rule inet filter output jump tunnelcheck",
            )?;
        }
        Ok(())
    }

    /// Applies the rules without those of one destination.
    pub(crate) fn apply_without(&self, text: &str, leaving: &Leaving) -> Outcome {
        if self.firewall != Firewall::Ufw {
            return self.apply(&without(text, leaving)?);
        }
        // ufw takes seconds for them all, so all but one stay.
        for line in text.lines().filter(|line| leaving.is_named_by(line)) {
            self.shell(&line.replacen("ufw ", "ufw delete ", 1))?;
        }
        Ok(())
    }

    /// Takes back what was left out.
    pub(crate) fn apply_again(&self, text: &str, leaving: &Leaving) -> Outcome {
        if self.firewall == Firewall::Ufw {
            for line in text.lines().filter(|line| leaving.is_named_by(line)) {
                self.shell(line)?;
            }
        }
        Ok(())
    }

    /// A host from which nothing gets out but replies, and what IPv6 needs to find its neighbours.
    pub(crate) fn let_nothing_out(&self) -> Outcome {
        self.shell(match self.firewall {
            Firewall::Nftables => {
                "nft --file - <<'RULES'
table inet filter {
    chain output {
        type filter hook output priority filter; policy drop;
        ct state established,related accept
        oifname lo accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
RULES"
            }
            Firewall::Iptables => {
                "for tool in iptables ip6tables; do
                     $tool -A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                     $tool -A OUTPUT -o lo -j ACCEPT
                     $tool -P OUTPUT DROP
                 done
                 ip6tables -A OUTPUT -p ipv6-icmp -j ACCEPT
                 iptables -A OUTPUT -j DROP
                 ip6tables -A OUTPUT -j DROP"
            }
            Firewall::Ufw => "ufw default deny outgoing && ufw --force enable",
            Firewall::Firewalld => {
                "set -e
                 firewall-cmd -q --permanent --new-policy deny-out
                 firewall-cmd -q --permanent --policy deny-out --add-ingress-zone HOST
                 firewall-cmd -q --permanent --policy deny-out --add-egress-zone ANY
                 firewall-cmd -q --permanent --policy deny-out --set-target DROP
                 firewall-cmd -q --permanent --policy deny-out --add-protocol ipv6-icmp
                 firewall-cmd -q --reload"
            }
        })
    }

    /// All rules that the kernel has, counters left out.
    pub(crate) fn state(&self) -> Outcome<String> {
        self.world.topology.client.run(|| {
            let nft = tool("nft", &["--stateless", "list", "ruleset"], "")?;
            // Packets of the policies are counted here.
            let saved = [
                tool("iptables-save", &[], "")?,
                tool("ip6tables-save", &[], "")?,
            ]
            .concat();
            let chain = |line: &str| line.split(" [").next().unwrap_or_default().to_owned();
            let lines = saved
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(chain);
            Ok(nft + &lines.collect::<Vec<_>>().join("\n"))
        })
    }

    /// Runs a line of shell in the host.
    pub(crate) fn shell(&self, line: &str) -> Outcome {
        shell(self.world, line).map(drop)
    }
}

/// The rules without those of one destination.
fn without(text: &str, leaving: &Leaving) -> Outcome<String> {
    let mut kept = String::new();
    let mut left_out = 0;
    for block in block_wise(text) {
        let mut lines: Vec<&str> = block.lines().collect();
        let whole = lines.len();
        // The transport of a set stands behind it.
        if block.contains(leaving.transport) {
            lines.retain(|line| !leaving.names(line));
            left_out += whole - lines.len();
        }
        // A set without elements is no rule at all.
        if lines.len() == 2 && whole > 2 {
            continue;
        }
        kept.extend(lines.into_iter().flat_map(|line| [line, "\n"]));
    }
    let wanted = leaving.addresses.len();
    if left_out == wanted {
        return Ok(kept);
    }
    Err(format!("{left_out} rules in the place of {wanted} are left out").into())
}

/// Lines, those of a set of nftables together.
fn block_wise(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match &mut open {
            Some(block) => {
                block.push('\n');
                block.push_str(line);
                if line.trim_start().starts_with('}') {
                    blocks.extend(open.take());
                }
            }
            None if line.ends_with("daddr {") => open = Some(line.to_owned()),
            None => blocks.push(line.to_owned()),
        }
    }
    blocks
}

/// What the tools' own judges say about a rule file.
pub(crate) fn lint(world: &World, firewall: Firewall, text: &str) -> Outcome {
    let file = world.path("lint.sh");
    fs::write(&file, text)?;
    let file = file.display();
    if firewall == Firewall::Nftables {
        return shell(world, &format!("nft --check --file {file}")).map(drop);
    }
    require(&["shellcheck"])?;
    shell(world, &format!("shellcheck {file}")).map(drop)
}

fn require(tools: &[&str]) -> Outcome {
    let missing: Vec<_> = tools
        .iter()
        .filter(|name| find(name).is_none())
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "these tools are missing: {}.\nRemedy: `apt-get install ufw firewalld dbus-daemon shellcheck`.",
        missing.join(", ")
    )
    .into())
}

/// Runs a line of shell in the client; what it says is the error.
fn shell(world: &World, line: &str) -> Outcome<Output> {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C");
    let output = world.output(command)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [&output.stdout[..], &output.stderr].concat();
    Err(format!(
        "{}\n{line}\n{}",
        output.status,
        String::from_utf8_lossy(&said)
    )
    .into())
}

/// A process in the client that ends with the host.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Puts a directory of this world in the place of one of the machine's, for this host only.
fn cover(world: &World, name: &str, target: &'static str) -> Outcome {
    let own = world.path(name);
    let all = own.clone();
    world
        .topology
        .client
        .run(move || {
            mount(
                Some(&own),
                Path::new(target),
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .map_err(|errno| format!("{target}: {errno}").into())
        })
        .map_err(|error: Box<dyn std::error::Error + Send + Sync>| {
            format!("{} cannot stand for {target}: {error}", all.display()).into()
        })
}

fn own_run(world: &World) -> Outcome {
    fs::create_dir_all(world.path("run"))?;
    cover(world, "run", "/run")
}

/// ufw as it is after its installation: disabled.
fn own_ufw(world: &World) -> Outcome {
    own_run(world)?;
    let own = world.path("ufw");
    fs::create_dir_all(own.join("applications.d"))?;
    for directory in ["/usr/share/ufw", "/usr/share/ufw/iptables"] {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let ending = path.extension().unwrap_or_default();
            let name = path.file_name().unwrap_or_default();
            if ["rules", "init", "conf"].iter().any(|kept| ending == *kept) {
                fs::copy(&path, own.join(name))?;
            }
        }
    }
    fs::write(own.join("sysctl.conf"), "")?;
    fs::copy("/etc/default/ufw", world.path("ufw-default"))?;
    cover(world, "ufw", "/etc/ufw")?;
    cover(world, "ufw-default", "/etc/default/ufw")
}

/// firewalld without any configuration of the machine's, on a bus of its own.
fn own_firewalld(world: &World) -> Outcome<Vec<Daemon>> {
    own_run(world)?;
    fs::create_dir_all(world.path("run/dbus"))?;
    fs::create_dir_all(world.path("firewalld"))?;
    fs::create_dir_all(world.path("log"))?;
    fs::write(
        world.path("firewalld/firewalld.conf"),
        "DefaultZone=public\nLogDenied=off\n",
    )?;
    fs::write(world.path("bus.conf"), BUS)?;
    cover(world, "firewalld", "/etc/firewalld")?;
    cover(world, "log", "/var/log")?;
    let bus = format!("--config-file={}", world.path("bus.conf").display());
    let mut daemons = vec![start(world, "dbus-daemon", &[&bus, "--nofork"])?];
    until(world, "test -S /run/dbus/system_bus_socket")?;
    daemons.push(start(world, "firewalld", &["--nofork", "--nopid"])?);
    until(world, "firewall-cmd --state")?;
    Ok(daemons)
}

/// Anybody on this bus may own and call anything: there is nobody else in this host.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

fn start(world: &World, name: &str, args: &[&str]) -> Outcome<Daemon> {
    let log = fs::File::create(world.path(&format!("{name}.log")))?;
    let mut command = Command::new(name);
    command
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = world.topology.client.run(move || command.spawn());
    child
        .map(Daemon)
        .map_err(|error| format!("{name}: {error}").into())
}

/// How long a daemon may take to start on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Waits until a line of shell succeeds: the daemons tell nobody when they are ready.
fn until(world: &World, line: &str) -> Outcome {
    let begun = Instant::now();
    loop {
        match shell(world, line) {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > STARTS_WITHIN => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
