//! The file system of a script: the tools that make rules, what they need, and nothing of this host.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

/// Where the script is.
pub(super) const SCRIPT: &str = "/script";

/// Where the new root is made; what is there already cannot be seen any more.
const ROOT: &str = "/tmp";

/// Where this host has its tools. Not `PATH`: what is put there may do anything.
const TOOLS_IN: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];

/// Programs that a script can run. Those of the second line change nothing, and shells that lack them
/// have them built in.
const TOOLS: [&str; 15] = [
    "sh",
    "bash",
    "nft",
    "ip",
    "sysctl",
    "iptables-xml", //
    "[",
    "cat",
    "echo",
    "false",
    "id",
    "printf",
    "sleep",
    "test",
    "true",
];

/// Libraries, and what they load.
const LIBRARIES: [&str; 6] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/usr/local/lib",
    "/lib",
    "/lib64",
];

/// Names of users, protocols and ports, and where libraries are.
const FILES: [&str; 11] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/protocols",
    "/etc/services",
    "/etc/nsswitch.conf",
    "/etc/ld.so.cache",
    "/etc/ethertypes",
    "/etc/xtables/connlabel.conf",
    "/etc/iproute2/rt_tables",
    "/etc/iproute2/rt_marks",
    "/etc/ld-musl-x86_64.path",
];

/// Changes the root of this process, which is the first one of its namespaces.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn enter(script: &str) -> io::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    scratch(ROOT, "mode=755,size=32m")?;
    for directory in ["usr/bin", "usr/local", "etc", "dev", "proc", "tmp", "run"] {
        fs::create_dir_all(inside(directory))?;
    }
    for name in ["usr/sbin", "usr/local/bin", "usr/local/sbin", "bin", "sbin"] {
        symlink("/usr/bin", inside(name))?;
    }
    LIBRARIES.iter().try_for_each(|path| library(path))?;
    tools()?;
    for name in ["null", "zero", "urandom"] {
        file(&Path::new("/dev").join(name), &inside("dev").join(name))?;
    }
    for (name, target) in [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ] {
        symlink(format!("/proc/self/fd{target}"), inside("dev").join(name))?;
    }
    for path in FILES {
        // Not every system has all of them.
        if let Ok(bytes) = fs::read(path) {
            let copy = inside(path);
            copy.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(copy, bytes)?;
        }
    }
    fs::write(inside(SCRIPT), script)?;
    read_only()?;
    processes()?;
    scratch(inside("run"), "mode=755,size=1m")?;
    scratch(inside("tmp"), "mode=1777,size=16m")?;
    restrict(Path::new(ROOT))?;
    change()
}

fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

fn scratch(at: impl AsRef<Path>, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let kind = Some("tmpfs");
    Ok(mount(kind, at.as_ref(), kind, flags, Some(options))?)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let none = None::<&str>;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, none, flags, none)
        .map_err(|errno| io::Error::other(format!("{}: {errno}", from.display())))
}

fn library(path: &str) -> io::Result<()> {
    let copy = inside(path);
    if let Ok(target) = fs::read_link(path) {
        return symlink(target, copy);
    }
    if !Path::new(path).is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&copy)?;
    bind(Path::new(path), &copy)
}

fn file(from: &Path, to: &Path) -> io::Result<()> {
    File::create(to)?;
    bind(from, to)
}

fn tools() -> io::Result<()> {
    let mut names: Vec<String> = TOOLS.iter().map(ToString::to_string).collect();
    for stem in ["iptables", "ip6tables"] {
        for variant in ["", "-nft", "-legacy"] {
            for what in ["", "-save", "-restore"] {
                names.push(format!("{stem}{variant}{what}"));
            }
        }
    }
    let directory = inside("usr/bin");
    for name in names {
        let mut candidates = TOOLS_IN.iter().map(|tools| Path::new(tools).join(&name));
        // A link to a program of many names: the name decides.
        if let Some(tool) = candidates.find_map(|tool| tool.canonicalize().ok()) {
            file(&tool, &directory.join(&name))?;
        }
    }
    // Whoever runs the script is root already.
    let mut options = File::options();
    options.write(true).create(true).mode(0o755);
    let mut sudo = options.open(directory.join("sudo"))?;
    sudo.write_all(b"#!/bin/sh\nexec \"$@\"\n")
}

/// Makes everything read-only that was bound so far, with what is mounted below it, and the new root.
/// What a mount does not allow stays so: the kernel refuses anything else.
fn read_only() -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let devices = inside("dev");
    let bound = points.map(|point| Path::new(point).to_owned());
    let bound = bound.filter(|point| point.starts_with(ROOT) && point != Path::new(ROOT));
    for point in bound.filter(|point| !point.starts_with(&devices)) {
        restrict(&point)?;
    }
    Ok(())
}

fn restrict(point: &Path) -> io::Result<()> {
    let none = None::<&str>;
    let has = statvfs(point)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    flags |= MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    for (flag, same) in [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        if has.contains(flag) {
            flags |= same;
        }
    }
    mount(none, point, none, flags, none)
        .map_err(|errno| io::Error::other(format!("{}: {errno}", point.display())))
}

/// The processes of these namespaces, and the settings of their network.
fn processes() -> io::Result<()> {
    let at = inside("proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &at, Some("proc"), flags, None::<&str>)
        .map_err(|errno| io::Error::other(format!("/proc: {errno}")))?;
    let (settings, network) = (at.join("sys"), at.join("sys/net"));
    bind(&network, &network)?;
    bind(&settings, &settings)?;
    restrict(&settings)?;
    restrict(&at)
}

fn change() -> io::Result<()> {
    chdir(ROOT)?;
    // The old root comes to lie over the new one, and goes.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}
