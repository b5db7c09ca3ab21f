//! What answers: each message with the address that it was sent to, so that a detour shows.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::model::Transport;

/// Whether the kernel speaks IPv6 at all.
pub(super) fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, None).is_ok()
}

/// How many flows may wait to be accepted.
const BACKLOG: i32 = 512;

/// Answers on these ports of all addresses, in the namespace of the calling thread, for ever.
pub(super) fn serve(ports: &[(Transport, u16)]) -> io::Result<()> {
    for (transport, port) in ports {
        let wildcards = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        for wildcard in wildcards.iter().filter(|ip| ip.is_ipv4() || has_ipv6()) {
            let address = SocketAddr::new(*wildcard, *port);
            match transport {
                Transport::Tcp => tcp(address)?,
                Transport::Udp => udp(address)?,
            }
        }
    }
    Ok(())
}

fn bound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn tcp(address: SocketAddr) -> io::Result<()> {
    let socket = bound(address, Type::STREAM, Protocol::TCP)?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(stream));
        }
    });
    Ok(())
}

fn converse(mut stream: TcpStream) -> io::Result<()> {
    let own = format!("{}\n", stream.local_addr()?);
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(own.as_bytes())?;
    }
    Ok(())
}

fn udp(address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::from(bound(address, Type::DGRAM, Protocol::UDP)?);
    if address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    }
    thread::spawn(move || while echo(&socket, address.port()).is_ok() {});
    Ok(())
}

/// Answers one datagram from the address that it was sent to.
fn echo(socket: &UdpSocket, port: u16) -> io::Result<()> {
    let mut bytes = [0; 16];
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
    let fd = socket.as_raw_fd();
    let message =
        recvmsg::<SockaddrStorage>(fd, &mut buffers, Some(&mut space), MsgFlags::empty())?;
    let Some(from) = message.address else {
        return Ok(());
    };
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                // The source of the answer; the interface is the route's matter.
                (info.ipi_spec_dst, info.ipi_ifindex) = (info.ipi_addr, 0);
                let own = IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes());
                answer(
                    fd,
                    SocketAddr::new(own, port),
                    &ControlMessage::Ipv4PacketInfo(&info),
                    &from,
                );
            }
            ControlMessageOwned::Ipv6PacketInfo(mut info) => {
                info.ipi6_ifindex = 0;
                let own = IpAddr::from(info.ipi6_addr.s6_addr);
                answer(
                    fd,
                    SocketAddr::new(own, port),
                    &ControlMessage::Ipv6PacketInfo(&info),
                    &from,
                );
            }
            _ => {}
        }
    }
    Ok(())
}

fn answer(fd: RawFd, own: SocketAddr, source: &ControlMessage<'_>, to: &SockaddrStorage) {
    let words = own.to_string();
    let words = [IoSlice::new(words.as_bytes())];
    // What cannot be sent is a flow without a reply, which the other side sees.
    let _ = sendmsg(fd, &words, &[*source], MsgFlags::empty(), Some(to));
}
