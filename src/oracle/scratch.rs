//! The scratch network: namespaces, links and addresses.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getegid, geteuid, gettid, setfsgid, setfsuid};
use rustix::thread::{
    CapabilitySet, capabilities, configure_capability_in_ambient_set, set_capabilities,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::OracleError;
use super::far::{self, has_ipv6};
use super::question::{Context, Entry, Flow, Question};
use super::tools::Tools;
use crate::model::Transport;

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Addresses of documentation, and a port of the far end, that show whether the links are ready.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 99)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 99)),
];
const READY: u16 = 9;

/// How long to wait for them, and for one answer.
const READY_WITHIN: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(2);

/// The namespaces. The calling thread is the host; the others end with the process.
pub(super) struct Scratch {
    far: Space,
    container: Option<Space>,
    user: Option<Who>,
}

/// Moves the process, which has a single thread, into namespaces of its own. Without root they are a
/// user namespace in which the own user has the number asked for.
///
/// Returns the user that sockets have to be made as, if that is another one than the process has now.
pub(super) fn enter(who: Who) -> Result<Option<Who>, OracleError> {
    let closed = |why: String| OracleError::NoNamespaces { why };
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok((who != Who { uid, gid }).then_some(who)),
        Err(Errno::EPERM) => {}
        Err(errno) => return Err(closed(errno.to_string())),
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| closed(errno.to_string()))?;
    // Without "deny" an unprivileged process may not write its own gid_map.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {uid} 1", who.uid)),
        ("gid_map", format!("{} {gid} 1", who.gid)),
    ] {
        std::fs::write(format!("/proc/self/{file}"), text)
            .map_err(|why| closed(format!("{file}: {why}")))?;
    }
    keep_capabilities().map_err(|why| closed(why.to_string()))?;
    Ok(None)
}

/// Lets the tools have what this process may, although its user is not root in the namespace.
fn keep_capabilities() -> rustix::io::Result<()> {
    let wanted = [
        CapabilitySet::NET_ADMIN,
        CapabilitySet::NET_RAW,
        CapabilitySet::SYS_ADMIN,
    ];
    let mut sets = capabilities(None)?;
    sets.inheritable |= wanted.iter().copied().collect();
    set_capabilities(None, sets)?;
    let raise = |one: &CapabilitySet| configure_capability_in_ambient_set(*one, true);
    wanted.iter().try_for_each(raise)
}

impl Scratch {
    /// Lays the links, and starts what answers.
    pub(super) fn build(
        question: &Question,
        tools: &Tools,
        user: Option<Who>,
    ) -> Result<Self, OracleError> {
        let far = Space::new()?;
        let entry = question.context.entry.as_ref();
        let container = entry.map(|_| Space::new()).transpose()?;
        tools.ip(&loadable(&host_lines(
            &question.context,
            &far,
            container.as_ref(),
        )))?;
        far.ip(tools, &loadable(&far_lines(&question.context)))?;
        if let (Some(container), Some(entry)) = (&container, entry) {
            container.ip(tools, &loadable(&container_lines(entry)))?;
        }
        if container.is_some() {
            let keys = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
            for key in keys.iter().take(if has_ipv6() { 2 } else { 1 }) {
                let path = format!("/proc/sys/net/{key}");
                std::fs::write(&path, "1").map_err(|why| OracleError::NoNamespaces {
                    why: format!("{path}: {why}"),
                })?;
            }
        }
        let scratch = Self {
            far,
            container,
            user,
        };
        scratch.listen(&question.flows)?;
        scratch.wait(entry)?;
        Ok(scratch)
    }

    /// Waits until the links carry packets both ways: the kernel drops them for some time after an
    /// interface is up.
    fn wait(&self, entry: Option<&Entry>) -> Result<(), OracleError> {
        let transport = Transport::Udp;
        for ip in SOMEWHERE
            .into_iter()
            .filter(|ip| ip.is_ipv4() || has_ipv6())
        {
            let to = SocketAddr::new(ip, READY);
            self.reach(&Flow::Out { transport, to }, to)?;
            let of_family = |address: &IpAddr| address.is_ipv4() == ip.is_ipv4();
            if entry.is_some_and(|entry| entry.addresses().any(|address| of_family(&address))) {
                self.reach(&Flow::Forwarded { transport, to }, to)?;
            }
        }
        Ok(())
    }

    fn reach(&self, flow: &Flow, to: SocketAddr) -> Result<(), OracleError> {
        let internal = |why: std::io::Error| OracleError::Internal(format!("{to}: {why}"));
        let socket = UdpSocket::from(self.socket(flow)?);
        socket.connect(to).map_err(internal)?;
        socket.set_read_timeout(Some(AGAIN)).map_err(internal)?;
        let until = Instant::now() + READY_WITHIN;
        loop {
            let answered = socket.send(b"?").and_then(|_| socket.recv(&mut [0; 64]));
            match answered {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() > until => return Err(internal(why)),
                // A send that fails does not wait.
                Err(why) if why.kind() != ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(_) => {}
            }
        }
    }

    /// What answers: at the far end, and on this host for what comes in and what stays here.
    fn listen(&self, flows: &[Flow]) -> Result<(), OracleError> {
        let (mut there, mut here) = (vec![(Transport::Udp, READY)], Vec::new());
        for flow in flows {
            match *flow {
                Flow::Out { transport, to } if to.ip().is_loopback() => {
                    here.push((transport, to.port()));
                }
                Flow::Out { transport, to } | Flow::Forwarded { transport, to } => {
                    there.push((transport, to.port()));
                }
                Flow::In { port, .. } | Flow::Session { port, .. } => {
                    here.push((Transport::Tcp, port));
                }
            }
        }
        for ports in [&mut there, &mut here] {
            ports.sort_unstable();
            ports.dedup();
        }
        let internal = |why: std::io::Error| OracleError::Internal(format!("far end: {why}"));
        far::serve(&here).map_err(internal)?;
        self.far.run(move || far::serve(&there))?.map_err(internal)
    }

    /// A socket of the one who opens the flow, bound to a port of its own.
    pub(super) fn socket(&self, flow: &Flow) -> Result<Socket, OracleError> {
        let failed = |why: std::io::Error| OracleError::Internal(format!("{flow:?}: {why}"));
        let wildcard = |to: &SocketAddr| match to {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        match *flow {
            Flow::Out { transport, to } => self
                .as_user(|| open(transport, wildcard(&to)))?
                .map_err(failed),
            Flow::Forwarded { transport, to } => {
                let space = self.container.as_ref();
                let space = space.ok_or_else(|| {
                    OracleError::Question("a forwarded flow needs an entry".to_owned())
                })?;
                space
                    .run(move || open(transport, wildcard(&to)))?
                    .map_err(failed)
            }
            Flow::In { from, .. } | Flow::Session { from, .. } => self
                .far
                .run(move || open(Transport::Tcp, from))?
                .map_err(failed),
        }
    }

    /// Rules about users look at the file-system user that a socket was made by; a thread has its own.
    fn as_user<T>(&self, work: impl FnOnce() -> T) -> Result<T, OracleError> {
        let Some(who) = self.user else {
            return Ok(work());
        };
        let gid = setfsgid(Gid::from_raw(who.gid));
        let uid = setfsuid(Uid::from_raw(who.uid));
        // Neither call says whether it worked; the next one does.
        let now = (setfsuid(uid).as_raw(), setfsgid(gid).as_raw());
        if now != (who.uid, who.gid) {
            return Err(OracleError::User {
                user: who.uid.to_string(),
                why: "the system does not allow it".to_owned(),
            });
        }
        setfsgid(Gid::from_raw(who.gid));
        setfsuid(Uid::from_raw(who.uid));
        let done = work();
        setfsuid(uid);
        setfsgid(gid);
        Ok(done)
    }
}

fn open(transport: Transport, from: IpAddr) -> std::io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let address = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    match from {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Both ends have the same hardware address, so that without ARP and neighbour discovery each is the
/// other's neighbour.
const HARDWARE: &str = "02:00:00:00:00:01";

/// The lines without those that a kernel without IPv6 refuses.
fn loadable(lines: &str) -> String {
    if has_ipv6() {
        lines.to_owned()
    } else {
        of_ipv4(lines)
    }
}

fn of_ipv4(lines: &str) -> String {
    let is_ipv6 = |word: &str| {
        let address = word.split('/').next().unwrap_or_default();
        address.parse::<Ipv6Addr>().is_ok()
    };
    let kept = lines
        .lines()
        .filter(|line| !line.split_whitespace().any(is_ipv6));
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn host_lines(context: &Context, far: &Space, container: Option<&Space>) -> String {
    let Context {
        interface,
        ipv4,
        ipv6,
        ..
    } = context;
    let veth = |near: &str, there: i32| {
        format!(
            "link add {near} address {HARDWARE} type veth peer name far0 address {HARDWARE} netns {there}\n\
             link set {near} arp off up\n"
        )
    };
    let mut lines = format!(
        "link set lo up\n{}\
         addr add {ipv4}/32 dev {interface}\naddr add {ipv6}/128 dev {interface} nodad\n\
         route add default dev {interface} src {ipv4}\nroute add ::/0 dev {interface} src {ipv6}\n",
        veth(interface, far.id)
    );
    if let (Some(entry), Some(container)) = (&context.entry, container) {
        let bridge = &entry.interface;
        lines.push_str(&veth(bridge, container.id));
        for address in entry.addresses() {
            let _ = writeln!(lines, "route add {address} dev {bridge}");
        }
    }
    lines
}

/// The far end has all addresses but the host's and the container's.
fn far_lines(context: &Context) -> String {
    let mut lines = "link set lo up\nlink set far0 arp off up\n\
         route add local 0.0.0.0/0 dev lo table local\nroute add local ::/0 dev lo table local\n"
        .to_owned();
    let entry = context.entry.iter().flat_map(Entry::addresses);
    let near = [context.ipv4.into(), context.ipv6.into()]
        .into_iter()
        .chain(entry);
    for address in near {
        let _ = writeln!(lines, "route add unicast {address} dev far0 table local");
    }
    lines
}

fn container_lines(entry: &Entry) -> String {
    let mut lines = "link set lo up\nlink set far0 arp off up\n".to_owned();
    for address in entry.addresses() {
        let (length, all, nodad) = match address {
            IpAddr::V4(_) => (32, "default", ""),
            IpAddr::V6(_) => (128, "::/0", " nodad"),
        };
        let _ = writeln!(
            lines,
            "addr add {address}/{length} dev far0{nodad}\nroute add {all} dev far0 src {address}"
        );
    }
    lines
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own: what it opens and starts is in there.
struct Space {
    id: i32,
    jobs: Sender<Job>,
}

impl Space {
    fn new() -> Result<Self, OracleError> {
        let (jobs, queue) = channel::<Job>();
        let (ready, entered) = channel();
        thread::spawn(move || {
            let entry = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid().as_raw());
            let _ = ready.send(entry);
            for job in queue {
                job();
            }
        });
        let id = entered.recv().map_err(|_| lost())?;
        let id = id.map_err(|errno| OracleError::NoNamespaces {
            why: errno.to_string(),
        })?;
        Ok(Self { id, jobs })
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OracleError> {
        let (sender, result) = channel();
        let job = move || drop(sender.send(work()));
        self.jobs.send(Box::new(job)).map_err(|_| lost())?;
        result.recv().map_err(|_| lost())
    }

    fn ip(&self, tools: &Tools, lines: &str) -> Result<(), OracleError> {
        let (tools, lines) = (tools.clone(), lines.to_owned());
        self.run(move || tools.ip(&lines))?
    }
}

fn lost() -> OracleError {
    OracleError::Internal("a thread ended early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_gets_the_other_lines() {
        let lines = "link add eth0 address 02:00:00:00:00:01 type veth\nroute add ::/0 dev eth0 src 2001:db8::2\n\
                     addr add 192.0.2.2/32 dev eth0\naddr add 2001:db8::2/128 dev eth0 nodad\n";
        let kept =
            "link add eth0 address 02:00:00:00:00:01 type veth\naddr add 192.0.2.2/32 dev eth0\n";
        assert_eq!(of_ipv4(lines), kept);
    }
}
