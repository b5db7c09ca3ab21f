//! Certificates: a laboratory CA that the client trusts, and an inspector's that it may not.

use std::sync::{Arc, LazyLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerConfig;
use serde::Deserialize;

use crate::{Outcome, internet, windows};

/// Who signed what a server presents.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Issuer {
    /// The CA in the client's trust store.
    #[default]
    Lab,
    /// The same CA, a certificate whose time is over.
    LabExpired,
    /// The same CA, a certificate whose time has not come.
    LabNotYetValid,
    /// The CA of a corporate inspector.
    Inspector,
}

/// Which key exchange a server takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyExchange {
    /// Every one that its library knows, X25519MLKEM768 among them.
    #[default]
    Any,
    /// P-256 only, as of a server that knows nothing post-quantum.
    P256,
}

/// The name that an intercepted client finds as the issuer.
pub(crate) const INSPECTOR_NAME: &str = "Example Corp TLS Inspection";

/// Every name under which a server of this world presents itself.
const EDGE_NAMES: [&str; 5] = [
    "h2.cftunnel.com",
    "quic.cftunnel.com",
    "probe.cftunnel.com",
    "cftunnel.com",
    "cloudflare-dns.com",
];

/// When a certificate is valid.
#[derive(Clone, Copy)]
enum Time {
    Past,
    Now,
    Future,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

static LAB: LazyLock<Authority> = LazyLock::new(|| Authority::new("Laboratory Root"));
static INSPECTOR: LazyLock<Authority> = LazyLock::new(|| Authority::new(INSPECTOR_NAME));

/// The client's trust store, as PEM.
pub(crate) fn trust_store(with_inspector: bool) -> String {
    let mut bundle = LAB.issuer.pem();
    if with_inspector {
        bundle.push_str(&INSPECTOR.issuer.pem());
    }
    bundle
}

/// The laboratory's root, for the self-test's own clients.
pub(crate) fn lab_root() -> CertificateDer<'static> {
    LAB.issuer.der().clone()
}

/// A TLS server that presents a certificate of `issuer` for every name of this world.
pub(crate) fn server(issuer: Issuer, alpn: Option<&str>) -> Outcome<Arc<ServerConfig>> {
    server_with(issuer, alpn, KeyExchange::Any)
}

/// The same with a choice of key exchanges.
pub(crate) fn server_with(
    issuer: Issuer,
    alpn: Option<&str>,
    key_exchange: KeyExchange,
) -> Outcome<Arc<ServerConfig>> {
    let (chain, key) = match issuer {
        Issuer::Lab => LAB.leaf(Time::Now),
        Issuer::LabExpired => LAB.leaf(Time::Past),
        Issuer::LabNotYetValid => LAB.leaf(Time::Future),
        Issuer::Inspector => INSPECTOR.leaf(Time::Now),
    }?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if key_exchange == KeyExchange::P256 {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::SECP256R1];
    }
    let provider = Arc::new(provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn
        .map(|name| name.as_bytes().to_vec())
        .into_iter()
        .collect();
    Ok(Arc::new(config))
}

/// Wine leaves out a root whose ECDSA signature has a number with a zero octet in front, which one in a
/// hundred has.
fn root_key() -> Result<KeyPair, rcgen::Error> {
    if windows::is_tested() {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
    } else {
        KeyPair::generate()
    }
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = root_key().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root"),
        }
    }

    fn leaf(&self, time: Time) -> Outcome<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let names: Vec<String> = EDGE_NAMES
            .into_iter()
            .chain(internet::https_hosts())
            .map(str::to_owned)
            .collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "a server of the laboratory");
        params.use_authority_key_identifier_extension = true;
        match time {
            Time::Past => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            Time::Now => {}
            Time::Future => params.not_before = rcgen::date_time_ymd(2999, 1, 1),
        }
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.issuer.der().clone()];
        Ok((chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}
