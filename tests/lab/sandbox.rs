//! Leaves the machine's network behind before anything else happens.
//!
//! The whole test process moves into a fresh network namespace (with no way out) and a fresh
//! mount namespace, as root directly and otherwise as the root of a fresh user namespace. The
//! namespaces of the topologies are made from there, so a mistake in a scenario can reach
//! nothing real.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::Outcome;

/// The search path of every tool: an ordinary user's PATH often lacks the `sbin` directories.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Moves this process, which must still have a single thread, into the sandbox.
pub(crate) fn enter() -> Outcome {
    require_tools()?;
    new_namespaces()?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(|errno| format!("cannot make the mount namespace private: {errno}"))?;
    // Ubuntu lets an unprivileged user make the namespace, then withholds its capabilities.
    tool("ip", &["link", "set", "lo", "up"], "").map_err(|error| {
        format!(
            "the new network namespace cannot be configured: {error}\n\
             Remedy: run as root, or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`."
        )
    })?;
    Ok(())
}

fn new_namespaces() -> Outcome {
    let (uid, gid) = (geteuid(), getegid());
    let wanted = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let as_root = unshare(wanted);
    let Err(Errno::EPERM) = as_root else {
        return as_root.map_err(|errno| no_namespaces(errno).into());
    };
    unshare(wanted | CloneFlags::CLONE_NEWUSER).map_err(no_namespaces)?;
    // Without "deny" an unprivileged process may not write its own gid_map.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(())
}

fn no_namespaces(errno: Errno) -> String {
    format!(
        "cannot make network namespaces ({errno}).\n\
         Remedy: run as root, or allow unprivileged user namespaces: \
         `sysctl user.max_user_namespaces=10000` (Debian: `kernel.unprivileged_userns_clone=1`); \
         in a container add the capability SYS_ADMIN or NET_ADMIN and a seccomp profile that permits unshare."
    )
}

fn require_tools() -> Outcome {
    let missing: Vec<&str> = ["ip", "nft", "iptables", "ip6tables"]
        .into_iter()
        .filter(|name| find(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "these tools are missing: {}.\nRemedy: `apt-get install iproute2 nftables iptables ethtool`.",
        missing.join(", ")
    )
    .into())
}

/// Where a tool is, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|directory| PathBuf::from(directory).join(name))
        .find(|path| path.exists())
}

/// Runs a tool in the namespaces of the calling thread; its complaint is the error.
pub(crate) fn tool(name: &str, arguments: &[&str], input: &str) -> Outcome<String> {
    let mut child = Command::new(name)
        .args(arguments)
        .env("PATH", PATH)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{name} {}: {}\n{input}",
        arguments.join(" "),
        complaint.trim()
    )
    .into())
}
