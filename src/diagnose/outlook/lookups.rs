//! PURE: what comes of the lookups of a start, by those of the check.
//!
//! ```text
//! a resolver ...                                    costs a question
//!   answers                                         as long as its quickest answer: cloudflared's question
//!                                                   meets a cache that the check has filled
//!   fails (SERVFAIL, REFUSED)                       as long as that took; then the next one is asked
//!   is silent, or answers something else            its time in full; then the next one is asked
//!   cannot be reached, and this host says so        nothing; then the next one is asked
//!   cannot be reached, and an ICMP error says so    not known: of some errors the kernel does not tell cloudflared
//!   was not given its time                          not known
//! ```

use std::net::{IpAddr, SocketAddr};

use super::{View, ratio};
use crate::catalog;
use crate::diagnose::dns::SrvState;
use crate::forecast::{DOT_S, Lookup, Lookups};
use crate::model::{self, LookupStatus, RecordType, ResolverOptions, Via};

impl View<'_> {
    /// The lookups of a start; nothing where too little is known of them. `loss` is that of packets to
    /// the edge, each way.
    pub(super) fn lookups(&self, loss: f64) -> Option<Lookups> {
        let name = catalog::srv_name(self.seen.options.region);
        let srv = match self.discovery.srv {
            SrvState::NotNeeded => None,
            SrvState::Undecided => return None,
            _ => Some(self.exchange(&[(&name, RecordType::Srv)])?),
        };
        let dot = srv.and_then(|_| self.over_tls());
        if srv.is_some_and(|srv| !srv.found) && dot.is_none() {
            return None;
        }
        let most = 1.0 - (1.0 - loss).powi(2);
        let least = if loss > 0.0 {
            self.loss_of_questions()
        } else {
            0.0
        };
        Some(Lookups {
            // Only the time of a TXT record matters, and that is like the time of any other.
            txt_s: srv.or_else(|| self.any_question())?.seconds,
            srv,
            dot,
            targets: self.targets()?,
            loss: (least, most.max(least)),
            retry_s: f64::from(self.resolver_options().timeout_s),
        })
    }

    fn targets(&self) -> Option<Vec<Lookup>> {
        let hosts = self.discovery.looked_up();
        let each = hosts.map(|host| {
            if host.name.parse::<IpAddr>().is_ok() {
                return Some(Lookup {
                    seconds: 0.0,
                    found: true,
                });
            }
            self.exchange(&[(&host.name, RecordType::A), (&host.name, RecordType::Aaaa)])
        });
        let mut targets = each.collect::<Option<Vec<_>>>()?;
        // Too few targets are as good as none.
        if let SrvState::TooFew { targets: known } = self.discovery.srv {
            targets.truncate(known);
            for target in &mut targets {
                target.found = false;
            }
        }
        Some(targets)
    }

    /// Questions that are asked at the same time, as Go's resolver asks them.
    fn exchange(&self, questions: &[(&str, RecordType)]) -> Option<Lookup> {
        let each = questions.iter().map(|(name, kind)| self.asked(name, *kind));
        let each = each.collect::<Option<Vec<_>>>()?;
        Some(Lookup {
            seconds: each.iter().map(|one| one.seconds).fold(0.0, f64::max),
            found: each.iter().any(|one| one.found),
        })
    }

    /// A question to the resolvers, where `--edge` leaves none about the edge.
    fn any_question(&self) -> Option<Lookup> {
        let mut asked = self.seen.lookups.iter();
        let any = asked.find(|l| matches!(l.via, Via::Resolver(_)))?;
        self.asked(&any.name, any.record_type)
    }

    /// One question: the servers in their order, each for its time, for as many rounds as resolv.conf says.
    fn asked(&self, name: &str, kind: RecordType) -> Option<Lookup> {
        let all = self.seen.lookups.iter();
        let own: Vec<_> = all
            .filter(|l| l.name == name && l.record_type == kind && l.via != Via::Dot)
            .collect();
        if let Some(pinned) = own.iter().find(|l| l.via == Via::Hosts) {
            return Some(Lookup {
                seconds: 0.0,
                found: is_usable(pinned),
            });
        }
        if self.seen.host.asks_all_resolvers() {
            let given = own.iter().find(|l| is_usable(l)).or(own.first())?;
            return Some(Lookup {
                seconds: given.elapsed_ms.duration().as_secs_f64(),
                found: is_usable(given),
            });
        }
        let options = self.resolver_options();
        let mut seconds = 0.0;
        for _ in 0..options.attempts.max(1) {
            for server in &self.seen.resolvers {
                let of_server = || own.iter().filter(|l| l.via == Via::Resolver(*server));
                let spoken = of_server().find(|l| l.status.is_final());
                let lookup = spoken.or_else(|| of_server().next())?;
                seconds += self.cost(lookup, *server, f64::from(options.timeout_s))?;
                if lookup.status.is_final() {
                    let found = is_usable(lookup);
                    return Some(Lookup { seconds, found });
                }
            }
        }
        Some(Lookup {
            seconds,
            found: false,
        })
    }

    /// How long a question to a server takes, which is waited for so many seconds.
    fn cost(&self, lookup: &model::Lookup, server: SocketAddr, timeout: f64) -> Option<f64> {
        /// An error of this host comes with the first datagram, which is not waited for.
        const AT_ONCE_S: f64 = 0.1;
        let own = lookup.elapsed_ms.duration().as_secs_f64();
        match lookup.status {
            status if status.is_final() => Some(self.quickest(server).min(timeout)),
            LookupStatus::TimedOut | LookupStatus::Malformed => Some(timeout),
            LookupStatus::Unreachable => (own < AT_ONCE_S).then_some(own),
            _ => Some(own.min(timeout)),
        }
    }

    /// The quickest answer of a server in seconds.
    fn quickest(&self, server: SocketAddr) -> f64 {
        let all = self.seen.lookups.iter();
        let answers = all.filter(|l| l.via == Via::Resolver(server) && l.status.is_final());
        let times = answers.map(|l| l.elapsed_ms.duration().as_secs_f64());
        times.fold(f64::INFINITY, f64::min)
    }

    fn resolver_options(&self) -> ResolverOptions {
        let own = self.seen.host.resolver_options.unwrap_or_default();
        if self.seen.options.resolver.is_empty() {
            own
        } else {
            ResolverOptions::default()
        }
    }

    /// The SRV record by DNS over TLS: each server of resolv.conf costs its time in each round, because
    /// cloudflared's resolver dials 1.1.1.1 in place of each.
    fn over_tls(&self) -> Option<Lookup> {
        let lookup = self.seen.lookups.iter().find(|l| l.via == Via::Dot)?;
        let found = lookup.status == LookupStatus::Ok;
        let options = self.resolver_options();
        let servers = u32::try_from(self.seen.resolvers.len().max(1)).unwrap_or(1);
        let rounds = f64::from(options.timeout_s * options.attempts.max(1) * servers);
        let seconds = match lookup.status {
            LookupStatus::TimedOut => rounds.min(DOT_S),
            _ => lookup.elapsed_ms.duration().as_secs_f64(),
        };
        Some(Lookup { seconds, found })
    }

    /// The share of questions that were answered only after they had been asked again. A late answer may
    /// also be a slow one, so this counts only where the path to the edge loses packets as well.
    fn loss_of_questions(&self) -> f64 {
        let answered = self.seen.lookups.iter().filter(|l| l.status.is_final());
        let late = answered
            .clone()
            .filter(|lookup| lookup.elapsed_ms.duration().as_secs_f64() > 0.3)
            .count();
        let all = answered.count();
        // Where most are late the resolver is slow, and nothing is lost.
        if all == 0 || late * 2 > all {
            return 0.0;
        }
        ratio(late, all)
    }
}

fn is_usable(lookup: &model::Lookup) -> bool {
    matches!(lookup.status, LookupStatus::Ok | LookupStatus::Suspicious)
}
