//! How a probe's datagrams leave and come in.

use std::io::{self, IoSliceMut, Read};
use std::net::SocketAddr;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use tokio::net::UdpSocket;

use crate::net::os;

/// The calls of a connected socket, none of which waits.
pub(super) enum Datagrams {
    /// The QUIC library's. They never fragment: a datagram that does not fit must fail, as
    /// cloudflared's does.
    Library(UdpSocketState),
    /// Plain ones, where the system lacks the options that the library sets and
    /// [`os::PLAIN_DATAGRAMS`] allows it. Whether these are fragmented is up to the system.
    Plain,
}

impl Datagrams {
    /// Sets the socket up.
    ///
    /// # Errors
    /// The system's, when it refuses an option that nothing stands in for.
    pub(super) fn of(io: &UdpSocket) -> io::Result<Self> {
        match UdpSocketState::new(io.into()) {
            Ok(state) => Ok(Self::Library(state)),
            Err(_) if os::PLAIN_DATAGRAMS => Ok(Self::Plain),
            Err(error) => Err(error),
        }
    }

    pub(super) fn send(&self, io: &UdpSocket, transmit: &Transmit<'_>) -> io::Result<()> {
        match self {
            Self::Library(state) if os::CONNECTED_TAKES_NAME => state.try_send(io.into(), transmit),
            // The options that the library has set hold for both.
            Self::Library(_) | Self::Plain => SockRef::from(io).send(transmit.contents).map(|_| ()),
        }
    }

    /// Receives into the first buffer at least, and returns how many were filled.
    pub(super) fn receive(
        &self,
        io: &UdpSocket,
        remote: SocketAddr,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let (socket, buf, meta) = match (self, bufs, meta) {
            (Self::Library(state), bufs, meta) => return state.recv(io.into(), bufs, meta),
            (Self::Plain, [buf, ..], [meta, ..]) => (SockRef::from(io), buf, meta),
            (Self::Plain, ..) => return Ok(0),
        };
        let len = (&*socket).read(buf)?;
        *meta = RecvMeta {
            addr: remote,
            len,
            stride: len,
            ..RecvMeta::default()
        };
        Ok(1)
    }

    /// How many datagrams one buffer may hold.
    pub(super) fn most_at_once(&self) -> usize {
        match self {
            Self::Library(state) => state.gro_segments(),
            Self::Plain => 1,
        }
    }

    pub(super) fn may_fragment(&self) -> bool {
        match self {
            Self::Library(state) => state.may_fragment(),
            Self::Plain => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_datagrams_come_and_go() {
        let (one, other) = (loopback().await, loopback().await);
        one.connect(other.local_addr().unwrap()).await.unwrap();
        other.connect(one.local_addr().unwrap()).await.unwrap();
        let transmit = Transmit {
            destination: other.local_addr().unwrap(),
            ecn: None,
            contents: b"ping",
            segment_size: None,
            src_ip: None,
        };
        Datagrams::Plain.send(&one, &transmit).unwrap();
        other.readable().await.unwrap();
        let (mut octets, mut meta) = ([0; 16], [RecvMeta::default()]);
        let from = one.local_addr().unwrap();
        let mut receive = || {
            let mut bufs = [IoSliceMut::new(&mut octets)];
            let count = Datagrams::Plain.receive(&other, from, &mut bufs, &mut meta);
            (count, meta[0].len, meta[0].addr)
        };
        let (count, len, addr) = receive();
        assert_eq!((count.unwrap(), len, addr), (1, 4, from));
        let (nothing, ..) = receive();
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(octets[..4], *b"ping");
    }

    async fn loopback() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.unwrap()
    }
}
