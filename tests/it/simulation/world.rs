//! A network of two rows at the edge and one HTTPS host, and a run of the plan in it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tunnelcheck::internal::catalog;
use tunnelcheck::internal::diagnose::{RateLimits, RowVerdict};
use tunnelcheck::internal::model::{
    Attempt, Cause, ContactFailure, Family, HandshakeFailure, Millis, Moment, Outcome as Ending,
    Profile, Requirement, Secured, Service, Source, Status, Transport,
};
use tunnelcheck::internal::plan::{Cancel, Launch, Seen, Step};
use tunnelcheck::internal::targets::{Target, TargetState};

/// What decides how the network treats a flow.
pub(crate) struct Flight<'a> {
    pub(crate) service: Service,
    pub(crate) profile: Profile,
    pub(crate) sni: &'a str,
}

/// How the network treats a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The other side answers, and the handshake completes.
    Passes,
    /// Nothing comes back.
    Silence,
    /// The first packet is answered, the hello is not.
    ContactThenSilence,
    /// The first packet is answered, the hello with a reset.
    ContactThenReset,
}

/// What is concluded of a row.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) cause: Option<Cause>,
}

/// A run in a simulated network.
pub(crate) struct World {
    network: fn(&Flight<'_>) -> Answer,
    round_trip: f64,
    /// The chance that a try, there and back, is lost.
    loss: f64,
    random: u64,
    /// Nothing passes before, in seconds.
    pub(crate) down_until: f64,
    /// What limits new flows to the edge.
    pub(crate) limit: Option<Limit>,
    targets: Vec<Target>,
    judgements: Vec<RowVerdict>,
    flows: Vec<Flow>,
    now: f64,
}

/// An attempt and how it goes on.
struct Flow {
    start: Attempt,
    answer: Answer,
    /// Tries that have been sent.
    tries: usize,
    contact: Option<f64>,
    end: Option<(f64, Ending)>,
}

/// A limit on new flows to the edge: a bucket of tokens, one for each first packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Tokens a second.
    pub(crate) rate: f64,
    /// How many the bucket holds.
    pub(crate) burst: f64,
    tokens: f64,
    filled: f64,
}

impl Limit {
    pub(crate) const fn new(rate: f64, burst: f64) -> Self {
        Self {
            rate,
            burst,
            tokens: burst,
            filled: 0.0,
        }
    }

    /// Whether a first packet passes then.
    fn takes(&mut self, now: f64) -> bool {
        let more = (now - self.filled).max(0.0) * self.rate;
        self.tokens = (self.tokens + more).min(self.burst);
        self.filled = self.filled.max(now);
        let passes = self.tokens >= 1.0;
        if passes {
            self.tokens -= 1.0;
        }
        passes
    }
}

impl World {
    pub(crate) fn new(
        network: fn(&Flight<'_>) -> Answer,
        round_trip: f64,
        loss: f64,
        seed: u64,
    ) -> Self {
        let rows = [Service::Quic, Service::Http2, Service::Https];
        Self {
            network,
            round_trip,
            loss,
            random: seed,
            down_until: 0.0,
            limit: None,
            targets: rows.map(target).into(),
            judgements: Vec::new(),
            flows: Vec::new(),
            now: 0.0,
        }
    }

    /// Runs the plan until everything is settled, or for so many seconds.
    pub(crate) fn run(&mut self, budget: f64) {
        const TICK: f64 = 0.025;
        let mut complete = false;
        while !complete && self.now < budget {
            complete = self.advance();
            self.now += TICK;
        }
    }

    pub(crate) fn outcome(&self, service: Service) -> Outcome {
        let rows = self.targets.iter().zip(&self.judgements);
        let (_, verdict) = rows
            .into_iter()
            .find(|(target, _)| target.service == service)
            .expect("a row of each service");
        Outcome {
            status: verdict.status,
            cause: verdict.cause,
        }
    }

    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.flows.iter().map(|flow| flow.at(self.now).0)
    }

    /// One look at all rows; true when nothing is left to do.
    fn advance(&mut self) -> bool {
        self.carry();
        let flows: Vec<_> = self.flows.iter().map(|flow| flow.at(self.now)).collect();
        let seen: Vec<_> = flows
            .iter()
            .map(|(attempt, running)| Seen {
                attempt,
                running: *running,
            })
            .collect();
        let attempts: Vec<_> = seen.iter().map(|seen| seen.attempt).collect();
        let rate_limits = RateLimits::of(&attempts, &self.targets);
        let step = Step::of(&self.targets, &seen, &rate_limits, moment(self.now));
        self.judgements = step.judgements;
        for (number, why) in step.given_up {
            self.flows[number].give_up(why, self.now);
        }
        let begun: Vec<_> = step
            .starts
            .iter()
            .map(|(row, start)| self.begin(*row, start))
            .collect();
        self.flows.extend(begun);
        step.complete
    }

    fn begin(&self, row: usize, start: &Launch) -> Flow {
        let target = &self.targets[row];
        let start = start.attempt(target, Millis::from(self.now * 1000.0));
        let answer = (self.network)(&Flight {
            service: target.service,
            profile: start.profile,
            sni: &start.sni,
        });
        Flow {
            start,
            answer,
            tries: 0,
            contact: None,
            end: None,
        }
    }

    /// Carries the first packets that have been sent by now, in their order.
    fn carry(&mut self) {
        while let Some((sent, number)) = self.next_try().filter(|(sent, _)| *sent <= self.now) {
            self.flows[number].tries += 1;
            let Flow { start, answer, .. } = &self.flows[number];
            let (answer, profile) = (*answer, start.profile);
            let after = sent - seconds(start.started_ms);
            let limited = match &mut self.limit {
                Some(limit) if profile != Profile::Https => !limit.takes(sent),
                _ => false,
            };
            let lost = self.is_lost();
            if sent >= self.down_until && !limited && !lost && answer != Answer::Silence {
                let contact = after + self.round_trip;
                let end = self.ending(contact, answer, profile);
                let flow = &mut self.flows[number];
                flow.contact = Some(contact);
                flow.end = end;
            }
        }
    }

    /// When which flow sends its first packet the next time, of those that are still at it.
    fn next_try(&self) -> Option<(f64, usize)> {
        let waiting = self.flows.iter().enumerate();
        let waiting = waiting.filter(|(_, flow)| flow.contact.is_none() && flow.end.is_none());
        let tries = waiting.filter_map(|(number, flow)| {
            let schedule = match flow.start.transport {
                Transport::Tcp => catalog::SYN_SCHEDULE,
                Transport::Udp => catalog::QUIC_SCHEDULE,
            };
            let after = schedule.get(flow.tries)?.as_secs_f64();
            Some((seconds(flow.start.started_ms) + after, number))
        });
        tries.min_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn ending(&mut self, contact: f64, answer: Answer, profile: Profile) -> Option<(f64, Ending)> {
        let again = std::iter::repeat_with(|| self.is_lost());
        let losses = again.take(4).take_while(|lost| *lost).count();
        // Retransmissions within a handshake: 0.2 s, 0.4 s, …
        let delay = 0.2 * f64::from(((1_u32 << losses) - 1).min(15));
        let end = contact + self.round_trip + delay;
        let failed = |failure| Ending::Unsecured { failure };
        Some(match (answer, profile) {
            (Answer::Silence | Answer::ContactThenSilence, _) => return None,
            (Answer::ContactThenReset, _) => (end, failed(HandshakeFailure::Reset)),
            (Answer::Passes, Profile::VersionPing) => {
                (contact, failed(HandshakeFailure::VersionNegotiation))
            }
            (Answer::Passes, _) => (end, passed()),
        })
    }

    fn is_lost(&mut self) -> bool {
        // splitmix64, whose constants are its author's.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX);
        unit < self.loss
    }
}

impl Flow {
    /// Ends the flow as far as it has come.
    fn give_up(&mut self, why: Cancel, now: f64) {
        let (attempt, _) = self.at(now);
        let outcome = match why {
            Cancel::Settled => Ending::Abandoned,
            Cancel::Silent => attempt.outcome,
        };
        self.contact = attempt.contact_ms.map(seconds);
        self.end = Some((seconds(attempt.elapsed_ms), outcome));
    }

    /// The attempt as it stands now, and whether it goes on.
    fn at(&self, now: f64) -> (Attempt, bool) {
        let age = now - seconds(self.start.started_ms);
        let contact = self.contact.filter(|contact| *contact <= age);
        let end = self.end.as_ref().filter(|(at, _)| *at <= age);
        let outcome = match (end, contact) {
            (Some((_, ending)), _) => ending.clone(),
            (None, Some(_)) => Ending::Unsecured {
                failure: HandshakeFailure::Silent,
            },
            (None, None) => Ending::Unanswered {
                failure: ContactFailure::Silent,
            },
        };
        let secured = matches!(outcome, Ending::Secured { .. });
        let elapsed = end.map_or(age, |(at, _)| *at);
        let millis = |seconds: f64| Millis::from(seconds * 1000.0);
        let attempt = Attempt {
            elapsed_ms: millis(elapsed),
            contact_ms: contact.map(millis),
            handshake_ms: secured.then(|| millis(elapsed)),
            outcome,
            ..self.start.clone()
        };
        (attempt, end.is_none())
    }
}

fn seconds(time: Millis) -> f64 {
    time.duration().as_secs_f64()
}

fn moment(seconds: f64) -> Moment {
    Moment::after(Duration::from_secs_f64(seconds))
}

fn passed() -> Ending {
    Ending::Secured {
        secured: Secured {
            version: "TLSv1_3".to_owned(),
            group: None,
            alpn: None,
            issuer: "CN=test".to_owned(),
            preface: Some(true),
            http_status: None,
            http_error: None,
        },
    }
}

fn target(service: Service) -> Target {
    let addresses = match service {
        Service::Https => vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
        _ => catalog::documented("region1.v2.argotunnel.com", Family::Ipv4),
    };
    let edge = service != Service::Https;
    Target {
        host: if edge {
            "region1.v2.argotunnel.com"
        } else {
            "api.cloudflare.com"
        }
        .to_owned(),
        port: if edge {
            catalog::EDGE_PORT
        } else {
            catalog::HTTPS_PORT
        },
        region: edge.then(|| "region1".to_owned()),
        service,
        family: Family::Ipv4,
        requirement: Requirement::Required,
        source: Source::Dns,
        addresses,
        suspicious_answers: Vec::new(),
        datagram_size: 1232,
        post_quantum: false,
        late_resets: false,
        state: TargetState::Probed,
    }
}
