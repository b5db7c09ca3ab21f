//! Waits until packets pass through a new topology.
//!
//! Links come up asynchronously and the first packets over them can be lost; the neighbour
//! protocols ask again after a second. A product that runs into this sees a lossy network where
//! the scenario promises a perfect one. So each family is tried from end to end before any rule
//! is loaded, which also fills the neighbour tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::internet::Family;
use crate::namespace::Namespace;
use crate::servers::echo;

/// The edge's own addresses, which no scenario talks about, and the port of its echo.
pub(crate) const EDGE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));
pub(crate) const EDGE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2a01, 0x4f8, 2, 0, 0, 0, 0, 2));
pub(crate) const ECHO_PORT: u16 = 7;

/// How long a packet may take before the next one is tried, and all of them together.
const TIMEOUT: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(5);

/// Returns once the client has heard from the edge in each of these families.
pub(crate) fn wait(client: &Namespace, edge: &Namespace, families: &[Family]) -> Outcome {
    for family in families {
        let address = match family {
            Family::Ipv4 => EDGE_V4,
            Family::Ipv6 => EDGE_V6,
        };
        edge.run(move || echo(address, ECHO_PORT))?;
        client.run(move || hear_from(address))?;
    }
    Ok(())
}

fn hear_from(address: IpAddr) -> Outcome {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect((address, ECHO_PORT))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        if socket.send(b"ready?").is_ok() && socket.recv(&mut [0; 16]).is_ok() {
            return Ok(());
        }
    }
    Err(format!("the new world does not carry packets to {address} after {DEADLINE:?}").into())
}
