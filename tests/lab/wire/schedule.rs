//! When a packet comes out at the other end, if it does: delay, jitter and loss.
//!
//! Pure: time is an argument, and randomness comes from the scenario's seed. Each direction has
//! a generator of its own and draws twice a packet, so that what happens to a packet depends on
//! the seed and on its place among the packets of its direction alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Wire;
use super::packet::Direction;

/// What is under way, in the order in which it arrives.
pub(super) struct Schedule {
    delay: Duration,
    jitter: Duration,
    icmp_delay: Duration,
    /// The share of packets that is lost.
    loss: f64,
    random: [Random; 2],
    /// Packets that are due at the same instant keep their order.
    under_way: BTreeMap<(Instant, u64), (Direction, Vec<u8>)>,
    count: u64,
}

impl Schedule {
    pub(super) fn new(wire: &Wire) -> Self {
        let milliseconds = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        Self {
            delay: milliseconds(wire.delay_ms),
            jitter: milliseconds(wire.jitter_ms),
            icmp_delay: milliseconds(wire.icmp_delay_ms),
            loss: wire.loss_percent / 100.0,
            random: Direction::BOTH.map(|direction| {
                // Seeds that are near each other must not give sequences that are.
                Random(Random(wire.seed).next() ^ u64::from(direction == Direction::ToEdge))
            }),
            under_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// A packet enters the wire; it may never leave it.
    pub(super) fn enter(&mut self, now: Instant, direction: Direction, held: bool, bytes: Vec<u8>) {
        let random = &mut self.random[usize::from(direction == Direction::ToEdge)];
        let (luck, jitter) = (random.fraction(), random.fraction());
        if luck < self.loss {
            return;
        }
        let held = if held {
            self.icmp_delay
        } else {
            Duration::ZERO
        };
        let at = now + self.delay + self.jitter.mul_f64(jitter) + held;
        self.at(at, direction, bytes);
    }

    /// A packet that arrives at this time, whatever the wire is like.
    pub(super) fn at(&mut self, at: Instant, direction: Direction, bytes: Vec<u8>) {
        self.count += 1;
        self.under_way.insert((at, self.count), (direction, bytes));
    }

    /// When the next packet is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|(due, _)| due.0)
    }

    /// The next packet that is due by now.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Direction, Vec<u8>)> {
        let entry = self.under_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): the same numbers for a seed, for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    fn fraction(&mut self) -> f64 {
        let upper = u32::try_from(self.next() >> 32).expect("32 bits");
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}
