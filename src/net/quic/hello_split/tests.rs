use std::collections::BTreeMap;

use super::*;

const NAME: &[u8] = b"quic.cftunnel.com";

/// A hello of `length` octets that has the name's extension behind another one.
fn hello(length: usize) -> Vec<u8> {
    let mut body = vec![3; 34];
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    let mut extensions = vec![0, 43, 0, 3, 2, 3, 4];
    let name = u8::try_from(NAME.len()).unwrap();
    extensions.extend([0, 0, 0, name + 5, 0, name + 3, 0, 0, name]);
    extensions.extend(NAME);
    let fill = u16::try_from(length - 4 - body.len() - 2 - extensions.len() - 4).unwrap();
    extensions.extend([0, 21]);
    extensions.extend(fill.to_be_bytes());
    extensions.resize(extensions.len() + usize::from(fill), 7);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, 0][..], &length, &body].concat()
}

fn packet(before: &[u8], offset: usize, octets: &[u8], size: usize) -> Vec<u8> {
    let mut packet = before.to_vec();
    put_crypto(&mut packet, offset, octets);
    packet.resize(size, 0);
    packet
}

fn put_together(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = BTreeMap::new();
    for packet in packets {
        for (offset, piece) in frames(packet).unwrap().1 {
            octets.extend((offset..).zip(piece.iter().copied()));
        }
    }
    assert!(octets.keys().copied().eq(0..octets.len()), "a gap");
    octets.into_values().collect()
}

fn contains(packet: &[u8], name: &[u8]) -> bool {
    packet.windows(name.len()).any(|octets| octets == name)
}

#[test]
fn the_halves_of_the_name_travel_in_two_datagrams() {
    let hello = hello(1456);
    // The first packet is full to its last octet.
    let mut first = packet(&[], 0, &hello[..1180], 1180 + 4);
    let mut second = packet(&[], 1180, &hello[1180..], 1184);
    let mut cut = None;
    for packet in [&mut first, &mut second] {
        hello_split(packet, &mut cut);
        assert!(!contains(packet, NAME));
    }
    assert!(contains(&first, b"quic.cft") && contains(&second, b"unnel.com"));
    assert_eq!(put_together(&[first, second]), hello);
}

#[test]
fn a_small_hello_ends_with_the_cut() {
    let hello = hello(300);
    let mut only = packet(&[1, 2, 5, 0, 0, 0], 0, &hello, 1184);
    let mut cut = None;
    hello_split(&mut only, &mut cut);
    assert!(!contains(&only, NAME));
    assert!(only.starts_with(&[1, 2, 5, 0, 0, 0]), "PING and ACK stay");
    let offsets: Vec<_> = frames(&only).unwrap().1.iter().map(|(o, _)| *o).collect();
    let range = cut.unwrap().range;
    assert_eq!(offsets, [0, range.end, range.start]);
    assert_eq!(put_together(&[only]), hello);
}

#[test]
fn what_comes_after_the_hello_stays_as_it_is() {
    let first = hello(300);
    let mut cut = Cut::find(&first);
    let second_hello = packet(&[], 300, &[1; 400], 1184);
    let closing = [0x1c, 0, 0, 0].to_vec();
    let acknowledgement = [2, 1, 0, 0, 0].to_vec();
    for packet in [second_hello, closing, acknowledgement] {
        let mut scattered = packet.clone();
        hello_split(&mut scattered, &mut cut);
        assert_eq!(scattered, packet);
    }
    let mut unknown = None;
    let mut nameless = packet(&[], 0, &[1; 100], 1184);
    hello_split(&mut nameless, &mut unknown);
    assert_eq!(nameless, packet(&[], 0, &[1; 100], 1184));
}
