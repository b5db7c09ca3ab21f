//! Client, router and edge: three namespaces and the links between them.
//!
//! A scenario gets a fresh topology (it takes tens of milliseconds). Reusing one would carry over
//! conntrack entries, neighbour tables and, worst, the budget of ICMP errors: a router sends about
//! six at once to a client and then one a second (RFC 1812, RFC 4443).

use std::net::IpAddr;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::internet::{self, Family};
use crate::namespace::Namespace;
use crate::sandbox::{find, tool};
use crate::scenario::{Client, Edge, Impostor, Router, Scenario};
use crate::wire::Line;
use crate::{Outcome, ready};

/// Networks of the client's and the edge's link. Both IPv6 prefixes are global unicast: a unique
/// local address would change source-address selection (RFC 6724).
const CLIENT: [(Family, &str, &str); 2] = [
    (Family::Ipv4, "10.0.1.2/24", "10.0.1.1"),
    (Family::Ipv6, "2a01:4f8:1::2/64", "2a01:4f8:1::1"),
];
const ROUTER: &str = "\
link set lo up
addr add 10.0.1.1/24 dev lan
addr add 10.0.2.1/24 dev wan
addr add 2a01:4f8:1::1/64 dev lan nodad
addr add 2a01:4f8:2::1/64 dev wan nodad
link set lan up
link set wan up
route add default via 10.0.2.2
route add ::/0 via 2a01:4f8:2::2
";
/// What is sent to an address outside this world vanishes. Without a route for it the kernel answers with
/// an ICMP error, as often as its rate limit allows: always over IPv6, and over IPv4 if it forwards. The
/// route of 6to4 is for scenarios that give the client such an address.
const EDGE: &str = "\
link set lo up
addr add 10.0.2.2/24 dev eth0
addr add 2a01:4f8:2::2/64 dev eth0 nodad
link set eth0 up
route add 10.0.1.0/24 via 10.0.2.1
route add 2a01:4f8:1::/64 via 2a01:4f8:2::1
route add 2002::/16 via 2a01:4f8:2::1
route add blackhole default
route add blackhole ::/0
";

/// The port of the first impostor on the router.
const IMPOSTOR_PORT: u16 = 20_000;

/// The namespaces of one scenario. The servers in them are started separately.
pub(crate) struct Topology {
    /// Where the scenario asks for one. First, because it ends before what it connects.
    pub(crate) wire: Option<Line>,
    pub(crate) client: Namespace,
    pub(crate) router: Namespace,
    pub(crate) edge: Namespace,
}

impl Topology {
    /// Lays the links, gives addresses and routes, and loads the firewalls' rules.
    pub(crate) fn build(scenario: &Scenario, files: &Path) -> Outcome<Self> {
        let client = Namespace::host("client")?;
        let router = Namespace::network("router")?;
        let edge = Namespace::network("edge")?;
        // Interfaces copy these settings when they are made, so this comes before the links.
        for namespace in [&client, &router, &edge] {
            namespace.run(nothing_inherited)?;
            namespace.run(no_autoconfiguration)?;
        }
        let wire = scenario.wire.as_ref().map(|_| Namespace::network("wire"));
        let wire = wire.transpose()?;
        build_router(
            &router,
            links(&client, &edge, wire.as_ref())?,
            &scenario.router,
        )?;
        build_edge(&edge, &scenario.edge, wire.is_some())?;
        let mut wire = match (&scenario.wire, wire) {
            (Some(wire), Some(namespace)) => Some(Line::start(&namespace, wire)?),
            _ => None,
        };
        build_client(&client, &scenario.client, files)?;
        ready::wait(&client, &edge, &scenario.client.routed())?;
        let rules = router_rules(&scenario.router, &scenario.impostors);
        load_rules(&router, rules, &scenario.router.iptables)?;
        load_rules(
            &client,
            client_rules(&scenario.client),
            &scenario.client.iptables,
        )?;
        load_rules(&edge, edge_rules(&scenario.edge), &[])?;
        if let Some(line) = &mut wire {
            line.begin()?;
        }
        Ok(Self {
            wire,
            client,
            router,
            edge,
        })
    }
}

/// The links, as the router lays them; a wire in user space in the place of its own to the edge.
fn links(client: &Namespace, edge: &Namespace, wire: Option<&Namespace>) -> Outcome<String> {
    let lan = format!(
        "link add lan type veth peer name eth0 netns {}\n",
        client.id
    );
    let wan = match wire {
        Some(wire) => {
            // Without IPv6 its ends say nothing about themselves.
            wire.run(|| sysctl("ipv6/conf/default/disable_ipv6", "1"))?;
            Line::links(wire.id, edge.id)
        }
        None => format!("link add wan type veth peer name eth0 netns {}\n", edge.id),
    };
    Ok(lan + &wan)
}

fn build_router(namespace: &Namespace, links: String, router: &Router) -> Outcome {
    let unlimited_icmp = router.unlimited_icmp;
    let neighbours = if links.contains("near") {
        Line::router_neighbours()
    } else {
        String::new()
    };
    let setup = [links, ROUTER.to_owned(), neighbours, lines("", &router.ip)].concat();
    namespace.run(move || {
        if unlimited_icmp {
            no_icmp_limits()?;
        }
        sysctl("ipv4/ip_forward", "1")?;
        sysctl("ipv6/conf/all/forwarding", "1")?;
        batch(&setup)?;
        no_offload(&["lan", "wan"])
    })
}

fn build_edge(namespace: &Namespace, edge: &Edge, wired: bool) -> Outcome {
    let unlimited_icmp = edge.unlimited_icmp;
    let mut setup = [EDGE, &edge_addresses()].concat();
    if wired {
        setup.push_str(&Line::edge_neighbours());
    }
    namespace.run(move || {
        if unlimited_icmp {
            no_icmp_limits()?;
        }
        batch(&setup)?;
        no_offload(&["eth0"])
    })
}

/// No kind of error is limited, which also exempts it from the limit on all of them together.
fn no_icmp_limits() -> Outcome {
    sysctl("ipv4/icmp_ratemask", "0")?;
    sysctl("ipv6/icmp/ratemask", "\n")
}

fn edge_addresses() -> String {
    internet::everything()
        .map(|address| match address {
            IpAddr::V4(_) => format!("addr add {address}/32 dev lo\n"),
            IpAddr::V6(_) => format!("addr add {address}/128 dev lo nodad\n"),
        })
        .collect()
}

fn build_client(namespace: &Namespace, client: &Client, files: &Path) -> Outcome {
    let setup = client_links(client);
    let resolv_conf = lines("nameserver ", &client.resolvers);
    std::fs::write(files.join("resolv.conf"), resolv_conf)?;
    let own = "127.0.0.1 localhost laboratory\n::1 localhost laboratory\n";
    std::fs::write(
        files.join("hosts"),
        own.to_owned() + &lines("", &client.hosts),
    )?;
    std::fs::write(files.join("nsswitch.conf"), "hosts: files dns\n")?;
    let (systemd, unit) = (client.systemd, client.unit.clone());
    let files = files.to_owned();
    namespace.run(move || {
        nix::unistd::sethostname("laboratory")?;
        run_services(systemd, unit.as_deref())?;
        for name in ["resolv.conf", "hosts", "nsswitch.conf"] {
            let target = Path::new("/etc").join(name);
            // A file that does not exist misleads nobody, but the resolvers must be ours.
            if target.exists() || name == "resolv.conf" {
                cover(&files.join(name), &target)?;
            }
        }
        batch(&setup)?;
        no_offload(&["eth0"])
    })
}

/// Hides how this machine runs its services, and shows what the scenario says.
fn run_services(systemd: bool, unit: Option<&str>) -> Outcome {
    // A configuration of cloudflared that cannot be read may say anything.
    let root = Path::new("/root");
    if root.is_dir() && std::fs::read_dir(root).is_err() {
        empty(root)?;
    }
    if systemd {
        empty(Path::new("/run"))?;
        std::fs::create_dir_all("/run/systemd/system")?;
        let folder = Path::new("/etc/systemd/system");
        if !folder.is_dir() {
            return Err(
                "this machine has no /etc/systemd/system. Remedy: `apt-get install systemd`".into(),
            );
        }
        empty(folder)?;
        if let Some(unit) = unit {
            std::fs::write(folder.join("cloudflared.service"), unit)?;
        }
    } else if Path::new("/run/systemd/system").is_dir() {
        empty(Path::new("/run/systemd/system/.."))?;
    }
    Ok(())
}

/// Puts an empty folder in the place of another, for this mount namespace only.
fn empty(target: &Path) -> Outcome {
    mount(
        Some("tmpfs"),
        target,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(|errno| format!("{}: {errno}", target.display()).into())
}

/// A family that the client lacks is one for which it has no address: the link stays.
fn client_links(client: &Client) -> String {
    let has = |family: &&(Family, &str, &str)| client.families.contains(&family.0);
    let addresses = CLIENT
        .iter()
        .filter(has)
        .map(|(family, address, _)| match family {
            Family::Ipv4 => format!("addr add {address} dev eth0"),
            Family::Ipv6 => format!("addr add {address} dev eth0 nodad"),
        });
    let wanted = |family: &&(Family, &str, &str)| client.default_routes.contains(&family.0);
    let routes = CLIENT
        .iter()
        .filter(has)
        .filter(wanted)
        .map(|(family, _, router)| match family {
            Family::Ipv4 => format!("route add default via {router}"),
            Family::Ipv6 => format!("route add ::/0 via {router}"),
        });
    let up = ["link set lo up", "link set eth0 up"].map(str::to_owned);
    let all: Vec<String> = up
        .into_iter()
        .chain(addresses)
        .chain(routes)
        .chain(client.ip.clone())
        .collect();
    lines("", &all)
}

fn lines(prefix: &str, words: &[String]) -> String {
    words.iter().flat_map(|word| [prefix, word, "\n"]).collect()
}

fn client_rules(client: &Client) -> String {
    let output = chain("filter", "output", "filter", &client.output);
    [internet::nft_definitions(), output].concat()
}

fn edge_rules(edge: &Edge) -> String {
    let input = chain("filter", "input", "filter", &edge.input);
    [internet::nft_definitions(), input].concat()
}

/// The rules of the router: what it forwards, and what falls into the hands of an impostor.
fn router_rules(router: &Router, impostors: &[Impostor]) -> String {
    let redirects: Vec<String> = impostors
        .iter()
        .enumerate()
        .flat_map(|(index, impostor)| {
            impostor
                .families
                .iter()
                .map(move |family| redirect(impostor, *family, impostor_port(index)))
        })
        .collect();
    let definitions = internet::nft_definitions();
    let forward = chain("filter", "forward", "filter", &router.forward);
    let output = chain("filter", "output", "filter", &router.output);
    let nat = chain("nat", "prerouting", "dstnat", &redirects);
    [definitions, forward, output, nat].concat()
}

/// Where the scenario's impostor of this index listens on the router.
pub(crate) fn impostor_port(index: usize) -> u16 {
    IMPOSTOR_PORT + u16::try_from(index).expect("few impostors")
}

fn redirect(impostor: &Impostor, family: Family, port: u16) -> String {
    let regions = internet::REGIONS.map(str::to_owned);
    let hosts = if impostor.hosts.is_empty() {
        &regions[..]
    } else {
        &impostor.hosts[..]
    };
    let addresses: Vec<IpAddr> = hosts
        .iter()
        .flat_map(|host| internet::addresses(host, family))
        .collect();
    let (ip, transport) = (family.nft(), impostor.behaviour.transport());
    let set = internet::nft_set(&addresses);
    format!(
        "{ip} daddr {set} {transport} dport {} redirect to :{port}",
        impostor.port
    )
}

/// A table with one chain; nothing where there are no rules.
fn chain(kind: &str, hook: &str, priority: &str, rules: &[String]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let rules = rules.join("\n");
    format!(
        "table inet {hook} {{\nchain {hook} {{\n\
         type {kind} hook {hook} priority {priority}; policy accept;\n{rules}\n}}\n}}\n"
    )
}

fn load_rules(namespace: &Namespace, nft: String, iptables: &[String]) -> Outcome {
    let iptables = iptables.to_vec();
    namespace.run(move || {
        if nft.contains("table ") {
            tool("nft", &["-f", "-"], &nft)?;
        }
        for line in iptables {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (program, arguments) = words.split_first().ok_or("an empty iptables line")?;
            tool(program, arguments, "")?;
        }
        Ok(())
    })
}

fn batch(lines: &str) -> Outcome {
    tool("ip", &["-batch", "-"], lines).map(drop)
}

/// IPv4 settings that a new namespace copies from the machine, where Docker or a distribution may have
/// changed them: whether it forwards, drops by source address, or sends and obeys redirects.
fn nothing_inherited() -> Outcome {
    for interface in ["all", "default"] {
        for setting in [
            "forwarding",
            "rp_filter",
            "send_redirects",
            "accept_redirects",
            "arp_ignore",
            "arp_filter",
        ] {
            sysctl(&format!("ipv4/conf/{interface}/{setting}"), "0")?;
        }
    }
    Ok(())
}

/// Addresses come from the scenario alone, and are usable at once.
fn no_autoconfiguration() -> Outcome {
    for interface in ["all", "default"] {
        sysctl(&format!("ipv6/conf/{interface}/accept_dad"), "0")?;
        sysctl(&format!("ipv6/conf/{interface}/accept_ra"), "0")?;
        sysctl(&format!("ipv6/conf/{interface}/router_solicitations"), "0")?;
    }
    Ok(())
}

/// Without this rules see packets of up to 64 kB, which no real network carries, and a wire in
/// user space sees packets whose checksums nobody has computed yet.
fn no_offload(interfaces: &[&str]) -> Outcome {
    if find("ethtool").is_none() {
        return Err("ethtool is missing.\nRemedy: `apt-get install ethtool`.".into());
    }
    for interface in interfaces {
        tool(
            "ethtool",
            &[
                "-K", interface, "tso", "off", "gso", "off", "gro", "off", "tx", "off",
            ],
            "",
        )?;
    }
    Ok(())
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
pub(crate) fn sysctl(key: &str, value: &str) -> Outcome {
    let path = format!("/proc/sys/net/{key}");
    std::fs::write(&path, value)
        .map_err(|error| format!("{path}: {error}; is /proc/sys read-only here?").into())
}

/// Puts a file in the place of another, for this mount namespace only.
pub(crate) fn cover(source: &Path, target: &Path) -> Outcome {
    mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|errno| format!("{}: {errno}", target.display()).into())
}
