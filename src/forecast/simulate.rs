//! One start of cloudflared, with its chances drawn from a seeded generator.

use fastrand::Rng;

use super::behaviour::{
    ADDRESS_RETRIES, CONNECTION_GAP_S, CONNECTIONS, DISCOVERIES, DOUBLINGS, HTTP2_ROUND_TRIPS,
    QUIC_ROUND_TRIPS, SAME_REGION, SHARED_WAIT_S, START_S, TXT_LOOKUPS,
};
use super::conditions::{Conditions, Dial, Lookup, Lookups, Region};
use crate::model::{ProtocolChoice, Service};

/// When a start is given up, in seconds: by then cloudflared has tried both protocols for minutes.
const HORIZON_S: f64 = 900.0;

/// What came of one start; times in seconds from the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Start {
    pub(super) first_dial: Option<f64>,
    pub(super) first_failure: Option<f64>,
    pub(super) fallback: Option<f64>,
    pub(super) first_connection: Option<(f64, Service)>,
    pub(super) fourth_connection: Option<f64>,
    pub(super) exit: Option<f64>,
    /// Whether it met something that is not known.
    pub(super) unknown: bool,
}

/// Simulates one start.
pub(super) fn start(network: &Conditions, rng: &mut Rng) -> Start {
    let mut start = Start::default();
    let busy = rng.f64().powi(3);
    let began = START_S.0 + START_S.1 * busy;
    let (lookups, found) = lookups(&network.lookups, rng);
    let dial_at = began + lookups;
    if !found {
        start.exit = Some(dial_at);
        return start;
    }
    start.first_dial = Some(dial_at);
    let mut edge = Edge::new(network, rng);
    if edge.regions.is_empty() {
        start.unknown = true;
        return start;
    }
    edge.first(dial_at, &mut start);
    if let Some((at, service)) = start.first_connection {
        start.fourth_connection = edge.others(at, service);
    }
    start.unknown = edge.unknown;
    start
}

/// How long the lookups take, and whether they give what a start needs.
fn lookups(lookups: &Lookups, rng: &mut Rng) -> (f64, bool) {
    let (least, most) = lookups.loss;
    let loss = least + (most - least) * rng.f64();
    let mut resent = |questions: u32| {
        let mut retries = 0.0_f64;
        for _ in 0..questions {
            let mut own = 0.0;
            while own < 3.0 && rng.f64() < loss {
                own += 1.0;
            }
            retries = retries.max(own);
        }
        retries * lookups.retry_s
    };
    let mut total = 0.0;
    for _ in 0..TXT_LOOKUPS {
        total += lookups.txt_s + resent(1);
    }
    for _ in 0..DISCOVERIES {
        let (time, found) = discovery(lookups, &mut resent);
        total += time;
        // The first discovery may fail; the second one ends the process.
        if !found {
            let (again, _) = discovery(lookups, &mut resent);
            return (total + again, false);
        }
    }
    (total, true)
}

fn discovery(lookups: &Lookups, resent: &mut impl FnMut(u32) -> f64) -> (f64, bool) {
    let mut total = 0.0;
    if let Some(srv) = lookups.srv {
        total += srv.seconds + resent(1);
        if !srv.found {
            let none = Lookup {
                seconds: 0.0,
                found: false,
            };
            let dot = lookups.dot.unwrap_or(none);
            total += dot.seconds;
            if !dot.found {
                return (total, false);
            }
        }
    }
    for target in &lookups.targets {
        total += target.seconds + resent(2);
        // With `--edge` the addresses that do not resolve are left out.
        if !target.found && lookups.srv.is_some() {
            return (total, false);
        }
    }
    let any = lookups.targets.iter().any(|target| target.found);
    (total, any)
}

/// The edge as cloudflared hands out its addresses.
struct Edge<'a> {
    network: &'a Conditions,
    rng: &'a mut Rng,
    regions: Vec<RegionState<'a>>,
    unknown: bool,
}

struct RegionState<'a> {
    region: &'a Region,
    /// Which of its families is in use.
    active: usize,
    /// How many connections use it.
    used: usize,
}

impl RegionState<'_> {
    fn addresses(&self, service: Service) -> usize {
        let family = self.region.families.get(self.active);
        family.map_or(0, |family| family.dials(service).len())
    }
}

impl<'a> Edge<'a> {
    fn new(network: &'a Conditions, rng: &'a mut Rng) -> Self {
        let regions = network.regions.iter();
        let usable = regions.filter(|region| {
            let mut families = region.families.iter();
            families.any(|family| !family.quic.is_empty() || !family.http2.is_empty())
        });
        Self {
            network,
            rng,
            regions: usable
                .map(|region| RegionState {
                    region,
                    active: 0,
                    used: 0,
                })
                .collect(),
            unknown: false,
        }
    }

    /// Dials until connection 0 is registered.
    fn first(&mut self, mut now: f64, start: &mut Start) {
        let mut service = match self.network.protocol {
            ProtocolChoice::Auto | ProtocolChoice::Quic => Service::Quic,
            ProtocolChoice::Http2 => Service::Http2,
        };
        let may_fall_back = self.network.protocol == ProtocolChoice::Auto;
        let mut region = self.rng.usize(0..self.regions.len());
        let (mut waits, mut rotations) = (0, 0);
        while now < HORIZON_S && !self.unknown {
            match self.dial(region, service) {
                Ok(registered) => {
                    now += registered;
                    start.first_connection = Some((now, service));
                    self.regions[region].used += 1;
                    return;
                }
                Err(failed) => now += failed,
            }
            start.first_failure.get_or_insert(now);
            waits = (waits + 1).min(DOUBLINGS);
            now += self.rng.f64() * f64::from(1_u32 << waits);
            self.change_family(region);
            region = self.next_region(region);
            rotations += 1;
            if rotations > ADDRESS_RETRIES {
                rotations = 0;
                if may_fall_back && service == Service::Quic {
                    service = Service::Http2;
                    waits = 0;
                    start.fallback = Some(now);
                }
            }
        }
    }

    /// Registers connections 1 to 3 after the first one, and returns when the last of them is there.
    fn others(&mut self, first: f64, service: Service) -> Option<f64> {
        let mut due: Vec<(f64, usize)> = (1..CONNECTIONS)
            .scan(first, |at, _| {
                let own = *at;
                *at += CONNECTION_GAP_S;
                Some((own, self.emptier_region()))
            })
            .collect();
        let (mut last, mut waits) = (first, 0);
        let mut timer = f64::NEG_INFINITY;
        while let Some(next) = (0..due.len()).min_by(|a, b| due[*a].0.total_cmp(&due[*b].0)) {
            let (at, region) = due.swap_remove(next);
            if at > HORIZON_S || self.unknown {
                return None;
            }
            match self.dial(region, service) {
                Ok(registered) => last = last.max(at + registered),
                Err(failed) => {
                    // Its own first wait, and after it the one that all of them share.
                    let given_up = at + failed + self.rng.f64() * 2.0;
                    self.change_family(region);
                    if given_up > timer {
                        waits = (waits + 1).min(DOUBLINGS);
                        let most = SHARED_WAIT_S * f64::from(1_u32 << waits);
                        timer = given_up + self.rng.f64() * most;
                    }
                    due.push((timer, self.next_region(region)));
                }
            }
        }
        Some(last)
    }

    /// One dial: how long it takes to register, or to fail.
    fn dial(&mut self, region: usize, service: Service) -> Result<f64, f64> {
        let state = &self.regions[region];
        let family = state.region.families.get(state.active);
        let dials = family.map_or(&[][..], |family| family.dials(service));
        match self.rng.choice(dials) {
            Some(Dial::Passes) => self.register(service),
            Some(Dial::Fails(after)) => Err(*after),
            Some(Dial::Unknown) | None => {
                self.unknown = true;
                Err(0.0)
            }
        }
    }

    /// A dial to an address that passes: its round trips, some of which are lost.
    fn register(&mut self, service: Service) -> Result<f64, f64> {
        let (round_trips, retry, limit) = match service {
            Service::Quic => (QUIC_ROUND_TRIPS, 0.2, super::behaviour::QUIC_DIAL_S),
            Service::Http2 | Service::Https => {
                (HTTP2_ROUND_TRIPS, 1.0, super::behaviour::TCP_DIAL_S)
            }
        };
        let mut total = round_trips * self.network.round_trip_s;
        let lost = 1.0 - (1.0 - self.network.loss).powi(2);
        let mut left = round_trips;
        while left > 0.0 {
            let mut wait = retry;
            while self.rng.f64() < lost {
                total += wait;
                wait *= 2.0;
                if total > limit {
                    return Err(limit);
                }
            }
            left -= 1.0;
        }
        Ok(total)
    }

    /// From IPv6 to IPv4, and from IPv4 back.
    fn change_family(&mut self, region: usize) {
        let state = &mut self.regions[region];
        if state.region.families.len() > 1 {
            state.active = 1 - state.active.min(1);
        }
    }

    fn next_region(&mut self, last: usize) -> usize {
        if self.regions.len() < 2 || self.rng.f64() < SAME_REGION {
            last
        } else {
            1 - last.min(1)
        }
    }

    /// Connections are spread over the regions: the one with more free addresses is next.
    fn emptier_region(&mut self) -> usize {
        let free = |state: &RegionState<'_>| {
            state
                .addresses(Service::Http2)
                .max(state.addresses(Service::Quic))
                .saturating_sub(state.used)
        };
        let chosen = match &self.regions[..] {
            [first, second] if free(first) == free(second) => self.rng.usize(0..2),
            [first, second] if free(second) > free(first) => 1,
            _ => 0,
        };
        self.regions[chosen].used += 1;
        chosen
    }
}
