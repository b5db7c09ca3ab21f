//! Asks the system's resolvers as cloudflared would, and keeps every answer and every silence.
//!
//! The resolver library gives the system's configuration and the message format. The exchange is our
//! own, because a library resolver hides which server answered, what it said, and truncation.

mod exchange;
mod hosts;
mod message;
mod system;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

pub use hosts::Hosts;
pub use message::Question;
pub use system::{Resolvers, asked_by_this_host, system_options, system_resolvers};

use self::message::Reply;
use super::awake::Clock;
use super::trust::Trust;
use crate::catalog;
use crate::model::{Lookup, LookupStatus, Via};

/// What the walk through the resolvers tells as it goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// One resolver has answered, or has been given up.
    Lookup(Lookup),
    /// A resolver that fails over UDP has been asked over TCP; no answer for anybody.
    OverTcp(Lookup),
    /// The question is settled: a resolver has spoken for it, or none is left to ask.
    Settled(Question),
}

/// Asks the resolvers in order until one has spoken. The next is asked as soon as one fails, or stays
/// silent for a second, while the silent one may still answer. When all have failed at once they are
/// asked once more, because Go's resolver walks the list twice (`attempts:2`).
pub async fn resolve(question: Question, resolvers: Resolvers, tell: UnboundedSender<Progress>) {
    let servers = &resolvers.servers;
    let mut waiting = servers.iter().copied();
    let mut asked = FuturesUnordered::new();
    let mut silent = Vec::new();
    let mut settled = false;
    let mut clock = Clock::start();
    let mut next_step = Duration::ZERO;
    let limit = catalog::GO_RESOLVER_TIMEOUT;
    let (mut walked_twice, mut denied_by_some) = (false, false);
    loop {
        let all_failed = !settled && !denied_by_some && asked.is_empty() && waiting.len() == 0;
        if all_failed && !walked_twice && clock.now() + SECOND_WALK < limit {
            walked_twice = true;
            waiting = servers.iter().copied();
            next_step = clock.now() + SECOND_WALK;
        }
        let asks_on = !settled && waiting.len() > 0;
        if asked.is_empty() && !asks_on {
            break;
        }
        let wait = if asks_on || settled {
            next_step
        } else {
            Duration::MAX
        };
        tokio::select! {
            () = clock.until(wait) => {
                let Some(server) = waiting.next().filter(|_| !settled) else { break };
                silent.push((server, clock.now(), Instant::now()));
                let left = limit.saturating_sub(clock.now());
                asked.push(ask_one(server, &question, resolvers.over_tcp, left));
                next_step = clock.now() + HEDGE;
            }
            Some((server, lookup)) = asked.next(), if !asked.is_empty() => {
                silent.retain(|(other, ..)| *other != server);
                let denied = matches!(
                    lookup.status,
                    LookupStatus::NoSuchName | LookupStatus::NoRecords
                );
                let spoken = lookup.status.is_final() && !(denied && resolvers.all);
                denied_by_some |= denied;
                drop(tell.send(Progress::Lookup(lookup)));
                if spoken && !settled {
                    settled = true;
                    drop(tell.send(Progress::Settled(question.clone())));
                    let oldest = silent.iter().map(|(_, asked, _)| *asked).min();
                    next_step = oldest.unwrap_or_else(|| clock.now()) + SILENT;
                } else if !settled {
                    next_step = clock.now();
                }
            }
        }
    }
    for (server, _, asked) in silent {
        let reply = Reply::failed(LookupStatus::TimedOut, "no answer");
        let lookup = lookup(&question, Via::Resolver(server), reply, asked);
        drop(tell.send(Progress::Lookup(lookup)));
    }
    if !settled {
        drop(tell.send(Progress::Settled(question.clone())));
    }
}

/// How long one resolver may stay silent before the next is asked as well.
const HEDGE: Duration = Duration::from_secs(1);

/// How long after the last failure the resolvers are asked once more.
const SECOND_WALK: Duration = Duration::from_millis(400);

/// How long a resolver is waited for once another one has answered: three transmissions.
const SILENT: Duration = Duration::from_secs(2);

async fn ask_one(
    server: SocketAddr,
    question: &Question,
    over_tcp: bool,
    limit: Duration,
) -> (SocketAddr, Lookup) {
    let started = Instant::now();
    let (reply, truncated) = if over_tcp {
        (exchange::ask_tcp(server, question, limit).await, false)
    } else {
        exchange::ask(server, question, limit).await
    };
    let lookup = lookup(question, Via::Resolver(server), reply, started);
    (
        server,
        Lookup {
            truncated,
            ..lookup
        },
    )
}

/// Asks one resolver over TCP, to tell a resolver that is dead from one to which UDP is blocked.
pub async fn resolve_over_tcp(question: Question, server: SocketAddr) -> Lookup {
    /// Ends before the silence over UDP does, so that no run waits for it.
    const TIMEOUT: Duration = Duration::from_millis(1400);
    let started = Instant::now();
    let reply = exchange::ask_tcp(server, &question, TIMEOUT).await;
    lookup(&question, Via::Resolver(server), reply, started)
}

/// Asks for the SRV record over TLS, as cloudflared does when the system's resolvers fail it.
pub async fn resolve_over_tls(question: Question, trust: &Trust) -> Lookup {
    /// cloudflared waits 15 s; a path that takes longer than this to 1.1.1.1 carries no tunnel.
    const TIMEOUT: Duration = Duration::from_secs(4);
    let started = Instant::now();
    let reply = exchange::ask_dot(&question, trust, TIMEOUT).await;
    lookup(&question, Via::Dot, reply, started)
}

fn lookup(question: &Question, via: Via, reply: Reply, started: Instant) -> Lookup {
    Lookup {
        name: question.name.clone(),
        record_type: question.record_type,
        via,
        status: reply.status,
        unexpected: message::unexpected(&question.name, &reply.answers),
        answers: reply.answers,
        elapsed_ms: started.elapsed().into(),
        detail: reply.detail,
        truncated: false,
    }
}
