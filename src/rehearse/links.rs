//! Interfaces of this host's names, for rules that speak of one (`iif`, flow tables, hooks of devices).

use nix::ifaddrs::getifaddrs;

use super::run::{ToolError, find, run};

/// The other end of the last link, where the number of names is odd.
const SPARE: &str = "tcspare0";

/// The names of this host's interfaces, without the loopback.
pub(super) fn of_this_host() -> Vec<String> {
    let addresses = getifaddrs().into_iter().flatten();
    let mut names: Vec<String> = addresses.map(|one| one.interface_name).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name != "lo" && name != SPARE);
    names
}

/// Makes links of these names in the network namespace of the calling thread, where there are none:
/// a link has two ends, so two names each.
///
/// # Errors
/// Where `ip` is missing, or the kernel does not make them.
pub(super) fn make(names: &[String]) -> Result<(), ToolError> {
    let ip = find("ip").ok_or(ToolError::Missing {
        tool: "ip",
        package: "iproute2",
    })?;
    let pairs = names.chunks(2).filter_map(|pair| {
        let (one, other) = (pair.first()?, pair.get(1).map_or(SPARE, |name| name));
        Some(format!("link add {one} type veth peer name {other}\n"))
    });
    let lines: String = ["link set lo up\n".to_owned()]
        .into_iter()
        .chain(pairs)
        .collect();
    run(&ip, &["-batch", "-"], &lines).map(drop)
}
