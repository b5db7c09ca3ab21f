//! How cloudflared starts: the figures, measured with the real program in network namespaces.
//!
//! `docs/cloudflared.md` shows the measurements, and how sure each of them is.

/// The version that was measured.
pub(super) const BASED_ON: &str = "cloudflared 2026.8.2";

/// How long a dial over QUIC waits for an answer, in seconds (`HandshakeIdleTimeout`). An ICMP error
/// does not end it sooner.
pub const QUIC_DIAL_S: f64 = 5.0;

/// How long a dial over HTTP/2 waits for TCP, and once more for TLS, in seconds (`dialTimeout`).
pub const TCP_DIAL_S: f64 = 15.0;

/// How often cloudflared tries another address before it falls back to HTTP/2
/// (`--max-edge-addr-retries`): with the first dial that makes nine.
pub(super) const ADDRESS_RETRIES: u32 = 8;

/// The waits after a failed dial are uniform below 2, 4, 8, 16, 32, 32, … seconds: `--retries` is 5. The
/// log names up to twice as much.
pub(super) const DOUBLINGS: u32 = 5;

/// The first wait of the back-off that connections 1 to 3 share is uniform below twice this many seconds,
/// and doubles up to five times.
pub(super) const SHARED_WAIT_S: f64 = 10.0;

/// Connections 1 to 3 start this many seconds after each other.
pub(super) const CONNECTION_GAP_S: f64 = 1.0;

/// How many connections a tunnel has.
pub(super) const CONNECTIONS: usize = 4;

/// How often the addresses are discovered before the first dial: once for the pre-checks, once for the
/// tunnel.
pub(super) const DISCOVERIES: usize = 2;

/// How many TXT records are asked for before the addresses: `cfd-features` and `protocol-v2`.
pub(super) const TXT_LOOKUPS: usize = 2;

/// The share of second dials that go to the region of the first one, about as seen in 47 starts.
pub(super) const SAME_REGION: f64 = 0.4;

/// Round trips from the first packet of a dial to a registered connection.
pub(super) const QUIC_ROUND_TRIPS: f64 = 2.0;
/// The same over HTTP/2: TCP, TLS, and the HTTP/2 set-up.
pub(super) const HTTP2_ROUND_TRIPS: f64 = 4.0;

/// The least time from the start of the process to the first packet, in seconds, and how much it may
/// be longer on a busy machine.
pub(super) const START_S: (f64, f64) = (0.05, 0.4);

/// How long DNS over TLS is waited for as a whole, in seconds (`dotTimeout`).
pub const DOT_S: f64 = 15.0;

/// `TimeoutStartSec` of the unit that `cloudflared service install` writes since 2025.10.1, which waits
/// for the first connection (`Type=notify`).
pub(super) const UNIT_TIMEOUT_S: f64 = 15.0;
