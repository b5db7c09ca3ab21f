//! The questions to DNS: what was asked, what is not settled yet, and the tasks that ask.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::task::JoinMap;

use crate::model::{Family, RecordType};
use crate::net::dns::{self, Hosts, Progress, Question, Resolvers};
use crate::net::trust::Trust;
use crate::targets::Asked;

/// Asks, each question once, and hears the answers.
pub(super) struct Lookups {
    hosts: Hosts,
    pub(super) resolvers: Resolvers,
    /// When each question was asked, less the time in which this process did not run since then.
    asked: HashMap<Asked, Instant>,
    unsettled: HashSet<Asked>,
    sender: UnboundedSender<Progress>,
    answers: UnboundedReceiver<Progress>,
    tasks: JoinMap<Way, ()>,
}

/// How a question is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Way {
    /// As cloudflared asks the system's resolvers.
    System(Asked),
    /// The SRV record over TLS, which cloudflared asks for when the resolvers fail it.
    OverTls,
    /// One resolver over TCP, to see what blocks it.
    OverTcp(SocketAddr),
}

impl Lookups {
    pub(super) fn new(resolvers: Resolvers) -> Self {
        let (sender, answers) = unbounded_channel();
        Self {
            hosts: Hosts::load(),
            resolvers,
            asked: HashMap::new(),
            unsettled: HashSet::new(),
            sender,
            answers,
            tasks: JoinMap::new(),
        }
    }

    /// Asks for both families of a name, unless it is an address.
    pub(super) fn ask_addresses(&mut self, name: &str) {
        if name.parse::<std::net::IpAddr>().is_ok() {
            return;
        }
        for family in Family::BOTH {
            self.ask(name, RecordType::of(family));
        }
    }

    /// Asks, unless that was asked before.
    pub(super) fn ask(&mut self, name: &str, record_type: RecordType) {
        let asked = (name.to_owned(), record_type);
        if self.asked.contains_key(&asked) {
            return;
        }
        self.asked.insert(asked.clone(), Instant::now());
        self.unsettled.insert(asked.clone());
        let question = question(name, record_type);
        // As in Go's resolver DNS is not asked for a name that the hosts file has.
        if let Some(lookup) = self.hosts.answer(&question) {
            drop(self.sender.send(Progress::Lookup(lookup)));
            drop(self.sender.send(Progress::Settled(question)));
            return;
        }
        let resolving = dns::resolve(question, self.resolvers.clone(), self.sender.clone());
        self.tasks.spawn(Way::System(asked), resolving);
    }

    /// Asks for an SRV record over TLS.
    pub(super) fn ask_over_tls(&mut self, name: &str, trust: &Arc<Trust>) {
        let question = question(name, RecordType::Srv);
        let (trust, sender) = (Arc::clone(trust), self.sender.clone());
        self.tasks.spawn(Way::OverTls, async move {
            let lookup = dns::resolve_over_tls(question, &trust).await;
            drop(sender.send(Progress::Lookup(lookup)));
        });
    }

    /// Asks one resolver over TCP.
    pub(super) fn ask_over_tcp(&mut self, name: &str, server: SocketAddr) {
        let question = question(name, RecordType::A);
        let sender = self.sender.clone();
        self.tasks.spawn(Way::OverTcp(server), async move {
            let lookup = dns::resolve_over_tcp(question, server).await;
            drop(sender.send(Progress::OverTcp(lookup)));
        });
    }

    /// Gives the question over TCP to this resolver up.
    pub(super) fn cancel_over_tcp(&mut self, server: SocketAddr) {
        self.tasks.abort(&Way::OverTcp(server));
    }

    /// What comes next; never, while nothing is asked.
    pub(super) async fn next(&mut self) -> Option<Progress> {
        let progress = self.answers.recv().await;
        self.note(progress)
    }

    /// What has come already.
    pub(super) fn next_now(&mut self) -> Option<Progress> {
        let progress = self.answers.try_recv().ok();
        self.note(progress)
    }

    fn note(&mut self, progress: Option<Progress>) -> Option<Progress> {
        if let Some(Progress::Settled(question)) = &progress {
            let settled = (question.name.clone(), question.record_type);
            self.unsettled.remove(&settled);
        }
        progress
    }

    /// The questions that may still be answered.
    pub(super) const fn unsettled(&self) -> &HashSet<Asked> {
        &self.unsettled
    }

    /// The questions that are not waited for any longer, sorted, each with when it was asked.
    pub(super) fn give_up(&mut self) -> Vec<(Asked, Option<Instant>)> {
        let mut open: Vec<_> = self.unsettled.drain().collect();
        open.sort_by_key(|(name, record_type)| (name.clone(), record_type.to_string()));
        open.into_iter()
            .map(|asked| {
                let since = self.asked.get(&asked).copied();
                (asked, since)
            })
            .collect()
    }

    /// Forgets a time in which this process did not run.
    pub(super) fn forget_silence(&mut self, gap: Duration) {
        for asked in self.asked.values_mut() {
            *asked += gap;
        }
    }

    /// Whether answers have come that nobody has read.
    pub(super) fn has_news(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        !self.answers.is_empty()
    }

    /// Whether resolvers are still asked, although another one may have answered.
    pub(super) fn waits_for_resolvers(&self) -> bool {
        self.tasks.keys().any(|way| *way != Way::OverTls)
    }
}

fn question(name: &str, record_type: RecordType) -> Question {
    Question {
        name: name.to_owned(),
        record_type,
    }
}
