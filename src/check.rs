//! A check for programs that embed it: on the caller's runtime, without terminal and signals.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::catalog;
use crate::diagnose::diagnose;
use crate::model::{
    EdgeAddress, IpVersionChoice, Observations, Options, ProtocolChoice, Region, Report,
};
use crate::net::dns::{self, Resolvers};
use crate::net::trust::{self, Trust};
use crate::observe::{self, OnEvent};
use crate::own_rules;
use crate::rules::{Distribution, Egress, Surroundings};

/// Why there is no report at all. Everything that a network does is in the report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The TLS library refuses its configuration.
    #[error("the TLS library cannot be set up: {0}")]
    Tls(String),
}

/// A check that has not been made yet: what cloudflared is to be asked for, and how long it may take.
///
/// [`Check::new`] checks what `tunnelcheck` without arguments checks. It runs on the caller's tokio
/// runtime, which needs I/O, time and better more than one thread: handshakes are work.
#[derive(Debug, Clone)]
pub struct Check {
    options: Options,
    authorities: Option<Vec<CertificateDer<'static>>>,
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// Everything that cloudflared may use, for at most 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_options(Options::new())
    }

    /// A check with these options, such as those of a report. Without a list of optional hosts it gets the
    /// usual ones.
    #[must_use]
    pub const fn with_options(options: Options) -> Self {
        Self {
            options,
            authorities: None,
        }
    }

    /// Which transports cloudflared may use (`--protocol`).
    #[must_use]
    pub const fn protocol(mut self, protocol: ProtocolChoice) -> Self {
        self.options.protocol = protocol;
        self
    }

    /// Which address families cloudflared may use (`--edge-ip-version`).
    #[must_use]
    pub const fn ip_version(mut self, version: IpVersionChoice) -> Self {
        self.options.edge_ip_version = version;
        self
    }

    /// The regional service that is used instead of the global one (`--region`).
    #[must_use]
    pub const fn region(mut self, region: Region) -> Self {
        self.options.region = Some(region);
        self
    }

    /// An address of the edge, instead of those that DNS gives; repeatable (`--edge`).
    #[must_use]
    pub fn edge(mut self, address: EdgeAddress) -> Self {
        self.options.edge.push(address);
        self
    }

    /// A resolver that is asked instead of the system's; repeatable (`--resolver`).
    #[must_use]
    pub fn resolver(mut self, server: SocketAddr) -> Self {
        self.options.resolver.push(server);
        self
    }

    /// Whether the optional hosts are checked too: updates, Access and the like.
    #[must_use]
    pub const fn optional(mut self, wanted: bool) -> Self {
        self.options.optional = wanted;
        self
    }

    /// How long it may take; what is not known by then is inconclusive.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout_s = limit.as_secs_f64();
        self
    }

    /// Certificate authorities in DER that decide about the edge instead of all others (`--cacert`). What
    /// cannot be a trust anchor is left out.
    #[must_use]
    pub fn authorities(mut self, der: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.authorities = Some(der.into_iter().map(CertificateDer::from).collect());
        self
    }

    /// What is checked, and how it is judged.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Checks this network and diagnoses what was seen.
    ///
    /// Whoever drops the future stops the check, and gets no report.
    ///
    /// # Errors
    /// Only what keeps the check from looking at all.
    pub async fn run(&self) -> Result<Report, CheckError> {
        self.run_until(pending(), &mut |_| {}).await
    }

    /// As [`Check::run`], but ends with what is known when `stop` completes, and reports on its progress.
    ///
    /// # Errors
    /// As [`Check::run`].
    pub async fn run_until(
        &self,
        stop: impl Future<Output = ()>,
        on_event: &mut OnEvent<'_>,
    ) -> Result<Report, CheckError> {
        Ok(diagnose(self.observe_until(stop, on_event).await?))
    }

    /// What a check sees, not diagnosed: for a program that keeps it, or diagnoses it elsewhere.
    ///
    /// # Errors
    /// As [`Check::run`].
    pub async fn observe_until(
        &self,
        stop: impl Future<Output = ()>,
        on_event: &mut OnEvent<'_>,
    ) -> Result<Observations, CheckError> {
        // While authorities are loaded and names resolve.
        drop(tokio::task::spawn_blocking(trust::seed_random));
        let options = self.settled_options();
        let trust = Trust::load(self.authorities.as_deref(), options.post_quantum)
            .map_err(|why| CheckError::Tls(why.to_string()))?;
        let mut seen = observe::observe(options, Arc::new(trust), stop, on_event).await;
        own_rules::ask(&mut seen).await;
        Ok(seen)
    }

    /// What a firewall has to let out for cloudflared, by the documented addresses and by those that DNS
    /// gives now. Only DNS questions are sent; a name that DNS does not answer in time is noted.
    pub async fn egress(&self) -> Egress {
        let options = self.settled_options();
        let resolvers = Resolvers::of(&options);
        let lookups = observe::resolve_all(&options, &resolvers, pending()).await;
        let surroundings = Surroundings {
            made_at: observe::now_to_the_second(),
            resolvers: dns::asked_by_this_host(&options.resolver),
            distribution: Distribution::Other,
            offline: false,
        };
        Egress::new(&options, &lookups.unwrap_or_default(), surroundings)
    }

    fn settled_options(&self) -> Options {
        let mut options = self.options.clone();
        if options.optional_hosts.is_none() {
            let usual = catalog::usual_optional_hosts(options.region);
            let wanted = usual.into_iter().filter(|_| options.optional);
            options.optional_hosts = Some(wanted.collect());
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send>(_: T) {}

    #[test]
    fn a_check_can_be_a_task_of_any_runtime() {
        let check = Check::new();
        assert_send(check.run());
        assert_send(check.run_until(async {}, &mut |_| {}));
        assert_send(check.egress());
    }

    #[test]
    fn options_of_the_builder_reach_the_check() {
        let check = Check::new()
            .protocol(ProtocolChoice::Quic)
            .region(Region::Us)
            .timeout(Duration::from_millis(2500));
        let options = check.settled_options();
        assert_eq!(options.protocol, ProtocolChoice::Quic);
        assert!((options.timeout_s - 2.5).abs() < f64::EPSILON);
        let hosts = options.optional_hosts.unwrap();
        assert_eq!(hosts.len(), catalog::optional_hosts(Some(Region::Us)).len());
        let without = Check::new().optional(false).settled_options();
        assert_eq!(without.optional_hosts, Some(Vec::new()));
    }
}
