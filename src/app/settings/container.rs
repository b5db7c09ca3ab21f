//! Which container is meant: its addresses, and the interface by which its packets come in.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use super::UsageError;
use crate::net::host;
use crate::rules::check::Container;

/// The container of an address, or of a name that Docker or Podman knows.
pub(super) fn container(text: &str) -> Result<Container, UsageError> {
    let given: Result<Vec<IpAddr>, _> = text.split(',').map(str::parse).collect();
    let addresses = match given {
        Ok(addresses) => addresses,
        Err(_) => inspected(text)?,
    };
    let found = of(&addresses);
    found.ok_or_else(|| {
        let why = format!("the container {text} has no address of its own (its network may be the host's); without --for-container the host is judged");
        UsageError::Container(why)
    })
}

/// The container, or other machine, that has these addresses.
pub(super) fn of(addresses: &[IpAddr]) -> Option<Container> {
    let mut container = Container {
        ipv4: None,
        ipv6: None,
        bridge: None,
    };
    for address in addresses {
        match address.to_canonical() {
            IpAddr::V4(v4) => container.ipv4 = container.ipv4.or(Some(v4)),
            IpAddr::V6(v6) => container.ipv6 = container.ipv6.or(Some(v6)),
        }
    }
    container.bridge = addresses
        .iter()
        .find_map(|address| host::interface_towards(*address));
    (!addresses.is_empty()).then_some(container)
}

/// What `docker inspect` or `podman inspect` says of a container's addresses.
fn inspected(name: &str) -> Result<Vec<IpAddr>, UsageError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('-') {
        return Err(UsageError::Container(format!(
            "`{name}` is neither an address nor the name of a container"
        )));
    }
    let form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}";
    for tool in ["docker", "podman"] {
        let run = Command::new(tool)
            .args(["container", "inspect", "--format", form, name])
            .stdin(Stdio::null())
            .output();
        if let Ok(output) = run
            && output.status.success()
        {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(text
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect());
        }
    }
    Err(UsageError::Container(format!(
        "neither docker nor podman knows a running container {name}; give its address"
    )))
}
