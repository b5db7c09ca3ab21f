//! Runs the plan: the clock, the budget, and the tasks. What is started and when it is enough is
//! decided by the pure stages; this one carries it out.

mod attempts;
mod lookups;
mod names;
mod udp_blocked;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use self::names::resolve_all;

use self::attempts::AttemptPool;
use self::lookups::Lookups;
use crate::catalog;
use crate::model::{
    Ended, Event, Lookup, LookupStatus, Millis, Observations, Options, RecordType, Via,
};
use crate::net::awake;
use crate::net::dns::{self, Progress, Resolvers};
use crate::net::host;
use crate::net::trust::Trust;
use crate::targets::{Asked, Names, Resolution, optional_hosts};

/// Who hears of what a run learns, as it learns it.
pub type OnEvent<'a> = dyn FnMut(Event) + Send + 'a;

/// Looks at the network until every question is settled, the budget is used up, or `interrupted`
/// comes true.
pub async fn observe(
    options: Options,
    trust: Arc<Trust>,
    interrupted: impl Future<Output = ()>,
    on_event: &mut OnEvent<'_>,
) -> Observations {
    let started = Instant::now();
    let started_at = now_to_the_millisecond();
    let deadline = started + Duration::from_secs_f64(options.timeout_s);
    let mut run = Run::begin(options, trust, started);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(interrupted);
    let mut now = started;
    let ended = loop {
        run.advance(now, on_event);
        if run.is_complete() {
            break Ended::Complete;
        }
        let known = run.board.ended().len();
        let mut end = None;
        tokio::select! {
            progress = run.questions.next() => run.learn(progress, on_event),
            () = run.board.next_end() => {}
            _ = tick.tick() => {}
            () = sleep_until(deadline) => end = Some(Ended::Budget),
            () = &mut interrupted => end = Some(Ended::Interrupted),
        }
        now = run.look(now, known, on_event).await;
        if let Some(end) = end {
            break end;
        }
    };
    run.board.give_up(now);
    run.give_up_questions(now);
    Observations {
        started_at,
        duration: Millis::from(started.elapsed()),
        ended,
        host: run.host,
        options: run.options,
        resolvers: run.questions.resolvers.servers.to_vec(),
        lookups: run.lookups,
        over_tcp: run.over_tcp,
        attempts: run.board.into_attempts(),
        own_rules: None,
    }
}

/// The time of the day in RFC 3339; more digits would tell nothing.
fn now_to_the_millisecond() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond)
        .unwrap_or(now)
        .to_string()
}

/// The time of the day in RFC 3339, for what is read by people.
#[must_use]
pub fn now_to_the_second() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

/// How often silence is looked at; answers are looked at when they come.
const TICK: Duration = Duration::from_millis(25);

/// How long the edge's addresses may take before the documented ones are probed in the meantime.
const DNS_PATIENCE: Duration = Duration::from_millis(1200);

/// How long the system's resolvers may take for the SRV record before DNS over TLS is asked too.
const DOT_PATIENCE: Duration = Duration::from_secs(1);

struct Run {
    options: Options,
    host: crate::model::Host,
    trust: Arc<Trust>,
    started: Instant,
    board: AttemptPool,
    lookups: Vec<Lookup>,
    over_tcp: Vec<Lookup>,
    asked_over_tcp: HashSet<SocketAddr>,
    over_tls: OverTls,
    questions: Lookups,
}

/// Where the question over TLS stands.
#[derive(Debug, Clone, PartialEq)]
enum OverTls {
    NotAsked,
    Asked,
    Answered(Box<Lookup>),
}

impl Run {
    fn begin(options: Options, trust: Arc<Trust>, started: Instant) -> Self {
        let host = host::describe(&options, dns::system_options(), trust.system_roots);
        let questions = Lookups::new(Resolvers::of(&options));
        let board = AttemptPool::new(options.edge_bind_address, Arc::clone(&trust), started);
        let mut run = Self {
            options,
            host,
            trust,
            started,
            board,
            lookups: Vec::new(),
            over_tcp: Vec::new(),
            asked_over_tcp: HashSet::new(),
            over_tls: OverTls::NotAsked,
            questions,
        };
        run.ask_first();
        run
    }

    /// The SRV record, and at the same time the addresses of the targets that it usually names.
    fn ask_first(&mut self) {
        if self.options.edge.is_empty() {
            let name = catalog::srv_name(self.options.region);
            self.questions.ask(&name, RecordType::Srv);
        }
        self.ask_edge_addresses();
        for name in optional_hosts(&self.options) {
            self.questions.ask_addresses(&name);
        }
    }

    fn ask_edge_addresses(&mut self) {
        let names = self.names();
        let used = names.edge_hosts(&self.options).into_iter();
        // cloudflared looks up those too, and stops where one has no address.
        let unused = names.unused_edge_hosts(&self.options);
        let hosts: Vec<String> = used.map(|(host, _)| host).chain(unused).collect();
        for name in hosts {
            self.questions.ask_addresses(&name);
        }
    }

    fn names(&self) -> Names<'_> {
        self.names_but(self.questions.unsettled())
    }

    /// What is known where only these questions may still be answered.
    fn names_but<'a>(&'a self, unsettled: &'a HashSet<Asked>) -> Names<'a> {
        Names::so_far(&self.lookups, self.board.ended(), unsettled)
            .where_any_counts(self.host.asks_all_resolvers())
    }

    fn learn(&mut self, progress: Option<Progress>, on_event: &mut OnEvent<'_>) {
        match progress {
            Some(Progress::Lookup(lookup)) if lookup.via == Via::Dot => {
                self.over_tls = OverTls::Answered(Box::new(lookup));
            }
            Some(Progress::Lookup(lookup)) => {
                on_event(Event::LookedUp(lookup.clone()));
                if !lookup.status.is_silence() {
                    self.forget_over_tcp(lookup.via);
                }
                self.insert_in_order(lookup);
            }
            Some(Progress::OverTcp(lookup)) => self.over_tcp.push(lookup),
            Some(Progress::Settled(_)) | None => {}
        }
    }

    /// Answers to one question stand in the order of the resolvers, whatever came first: the first
    /// resolver that speaks is the one that cloudflared hears. The hosts file comes before them all.
    fn insert_in_order(&mut self, lookup: Lookup) {
        let rank = |via: Via| {
            let mut servers = self.questions.resolvers.servers.iter();
            servers.position(|server| Via::Resolver(*server) == via)
        };
        let follows = |other: &Lookup| {
            other.name == lookup.name
                && other.record_type == lookup.record_type
                && rank(other.via) > rank(lookup.via)
        };
        let at = self
            .lookups
            .iter()
            .position(follows)
            .unwrap_or(self.lookups.len());
        self.lookups.insert(at, lookup);
    }

    /// Reads the clock. Where this process did not run since `before`, what has come in is read first, and
    /// the silence in between is forgotten: `known` attempts had ended by then.
    async fn look(&mut self, before: Instant, known: usize, on_event: &mut OnEvent<'_>) -> Instant {
        let now = awake::catch_up(before).await;
        self.board.note_ends();
        while let Some(progress) = self.questions.next_now() {
            self.learn(Some(progress), on_event);
        }
        let since = now.duration_since(before);
        if since > awake::GAP {
            self.board.forget_silence(known, now);
            self.questions.forget_silence(since);
        }
        now
    }

    fn advance(&mut self, now: Instant, on_event: &mut OnEvent<'_>) {
        self.ask_over_tls(on_event);
        self.ask_over_tcp();
        self.ask_edge_addresses();
        // A name that takes long is probed at its documented addresses in the meantime.
        let hurried = HashSet::new();
        let patient = self.started.elapsed() < DNS_PATIENCE;
        let unsettled = if patient {
            self.questions.unsettled()
        } else {
            &hurried
        };
        let targets = crate::targets::targets(&self.options, &self.host, self.names_but(unsettled));
        self.board.advance(targets, now, on_event);
    }

    /// DNS over TLS, once the system's resolvers have failed the SRV record or hesitate; its answer
    /// counts only if theirs does not come.
    fn ask_over_tls(&mut self, on_event: &mut OnEvent<'_>) {
        let name = catalog::srv_name(self.options.region);
        let failed = match self.names().resolution(&name, RecordType::Srv) {
            _ if !self.options.edge.is_empty() => return,
            Resolution::Found(_) => return,
            Resolution::Waiting => false,
            Resolution::Failed(_) | Resolution::Undecided => true,
        };
        match &self.over_tls {
            OverTls::NotAsked if failed || self.started.elapsed() > DOT_PATIENCE => {
                self.over_tls = OverTls::Asked;
                self.questions.ask_over_tls(&name, &self.trust);
            }
            OverTls::Answered(lookup) if failed => {
                let lookup = lookup.as_ref().clone();
                if !self.lookups.contains(&lookup) {
                    on_event(Event::LookedUp(lookup.clone()));
                    self.lookups.push(lookup);
                }
            }
            _ => {}
        }
    }

    /// One question over TCP to each resolver that fails over UDP. cloudflared does not ask so: the
    /// answer only tells what stands in the way.
    fn ask_over_tcp(&mut self) {
        let edge = self.names().edge_hosts(&self.options);
        let named = |(name, _): &&(String, u16)| name.parse::<std::net::IpAddr>().is_err();
        let Some((name, _)) = edge.iter().find(named) else {
            return;
        };
        if self.questions.resolvers.over_tcp {
            return;
        }
        let servers = Arc::clone(&self.questions.resolvers.servers);
        for (index, server) in (0..).zip(servers.iter().copied()) {
            let (elapsed, waiting) = (
                self.started.elapsed(),
                !self.questions.unsettled().is_empty(),
            );
            let udp_blocked =
                udp_blocked::fails_over_udp(&self.lookups, (index, server), elapsed, waiting);
            if udp_blocked && self.asked_over_tcp.insert(server) {
                self.questions.ask_over_tcp(name, server);
            }
        }
    }

    /// What a resolver says over TCP tells nothing once it has answered over UDP.
    fn forget_over_tcp(&mut self, via: Via) {
        self.over_tcp.retain(|lookup| lookup.via != via);
        if let Via::Resolver(server) = via {
            self.questions.cancel_over_tcp(server);
        }
    }

    /// Questions that the run does not wait for any longer: asked, and not answered so far.
    fn give_up_questions(&mut self, now: Instant) {
        let Some(server) = self.questions.resolvers.servers.first().copied() else {
            return;
        };
        for ((name, record_type), asked) in self.questions.give_up() {
            let known = |l: &Lookup| {
                l.name == name && l.record_type == record_type && l.via == Via::Resolver(server)
            };
            if self.lookups.iter().any(known) {
                continue;
            }
            let since = asked.unwrap_or(now);
            self.lookups.push(Lookup {
                name,
                record_type,
                via: Via::Resolver(server),
                status: LookupStatus::TimedOut,
                answers: Vec::new(),
                unexpected: Vec::new(),
                elapsed_ms: now.saturating_duration_since(since).into(),
                detail: Some("not answered when the run ended".to_owned()),
                truncated: false,
            });
        }
    }

    /// True when DNS is settled, silent resolvers have been given their time, and so have all rows.
    fn is_complete(&mut self) -> bool {
        if self.questions.has_news() {
            return false;
        }
        // An answer of the second resolver is none where the first one has denied the record.
        let srv = catalog::srv_name(self.options.region);
        let found = self.names().resolution(&srv, RecordType::Srv);
        let srv_found = matches!(found, Resolution::Found(_));
        let over_tls_pending = self.over_tls == OverTls::Asked && !srv_found;
        let names_pending = !self.questions.unsettled().is_empty() || over_tls_pending;
        !names_pending && self.board.is_complete() && !self.questions.waits_for_resolvers()
    }
}
