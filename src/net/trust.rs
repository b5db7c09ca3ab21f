//! Whom cloudflared trusts, and the TLS configurations of the probes.
//!
//! Probes complete a handshake with anyone and judge the chain afterwards: only so is an
//! interceptor seen for what it is, with proof that it holds the key of what it presents.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, SecureRandom, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateCompressionAlgorithm, CertificateError, ClientConfig, DigitallySignedStruct,
    RootCertStore, SignatureScheme,
};

use super::{classify, os};
use crate::catalog;
use crate::model::UntrustedChain;

/// The certificate authorities of a run and the handshakes built on them; made once.
#[derive(Debug)]
pub struct Trust {
    edge: Judge,
    https: Judge,
    /// How many authorities the system trusts.
    pub system_roots: usize,
    /// cloudflared's first flight over TCP.
    pub(super) tunnel_tcp: Arc<ClientConfig>,
    /// cloudflared's first flight over QUIC.
    pub(super) tunnel_quic: Arc<ClientConfig>,
    /// A classical hello that fits into one packet, otherwise as cloudflared's.
    pub(super) small_tcp: Arc<ClientConfig>,
    /// The same over QUIC.
    pub(super) small_quic: Arc<ClientConfig>,
    /// An ordinary HTTPS client's first flight.
    pub(super) https_tcp: Arc<ClientConfig>,
    /// DNS over TLS, which stands or falls with its certificate.
    pub(super) dot: Arc<ClientConfig>,
}

/// Seeds the cryptographic library's random numbers, which takes a tenth of a second once: its seed
/// is the jitter of the processor. Whoever needs one meanwhile waits for it.
pub fn seed_random() {
    let mut octet = [0];
    // A failure comes back at every use.
    drop(aws_lc_rs::default_provider().secure_random.fill(&mut octet));
}

impl Trust {
    /// Loads the system's authorities, which takes tens of milliseconds, and builds the handshakes.
    ///
    /// With `cacert` those authorities alone decide about the edge, as in cloudflared. With
    /// `post_quantum` the tunnel's hello offers no other key exchange.
    ///
    /// # Errors
    /// The TLS library's own, which would be a defect of this program.
    pub fn load(
        cacert: Option<&[CertificateDer<'static>]>,
        post_quantum: bool,
    ) -> Result<Self, rustls::Error> {
        let large = if post_quantum {
            Hello::PostQuantum
        } else {
            Hello::Large
        };
        let mut system = RootCertStore::empty();
        // Go skips what it cannot read as well; an empty store becomes a finding.
        let mut native = os::system_authorities();
        system.add_parsable_certificates(native.iter().cloned());
        let system_roots = system.len();
        native.extend_from_slice(os::FETCHED_WHEN_NEEDED);
        system.add_parsable_certificates(os::FETCHED_WHEN_NEEDED.iter().cloned());
        let mut edge = RootCertStore::empty();
        match cacert {
            Some(given) => {
                edge.add_parsable_certificates(given.iter().cloned());
            }
            None => edge.roots.extend(
                system
                    .roots
                    .iter()
                    .cloned()
                    .chain(catalog::cloudflare_roots()),
            ),
        }
        let system = Arc::new(system);
        Ok(Self {
            edge: Judge::new(Arc::new(edge), cacert.unwrap_or(&native).to_vec())?,
            https: Judge::new(Arc::clone(&system), native)?,
            system_roots,
            tunnel_tcp: Arc::new(tunnel_config(large, &[])?),
            tunnel_quic: Arc::new(tunnel_config(large, &[catalog::QUIC_ALPN])?),
            small_tcp: Arc::new(tunnel_config(Hello::Small, &[])?),
            small_quic: Arc::new(tunnel_config(Hello::Small, &[catalog::QUIC_ALPN])?),
            https_tcp: Arc::new(https_config()?),
            dot: Arc::new(dot_config(system)?),
        })
    }

    /// Judges a chain as cloudflared would judge the edge's.
    pub(super) fn judge_edge(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<(), Box<UntrustedChain>> {
        self.edge.judge(chain, name)
    }

    /// Judges a chain as an ordinary HTTPS client of this host would.
    pub(super) fn judge_https(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<(), Box<UntrustedChain>> {
        self.https.judge(chain, name)
    }
}

/// A set of authorities; an empty one trusts nobody.
#[derive(Debug)]
struct Judge {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates as they were configured, any of which may be the server's own.
    pool: Vec<CertificateDer<'static>>,
}

impl Judge {
    fn new(
        roots: Arc<RootCertStore>,
        pool: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let verifier = if roots.is_empty() {
            None
        } else {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            Some(built.map_err(|error| rustls::Error::General(error.to_string()))?)
        };
        Ok(Self { verifier, pool })
    }

    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<(), Box<UntrustedChain>> {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let verdict = match (chain.split_first(), &self.verifier) {
            (Some((leaf, _)), _) if self.pool.contains(leaf) => own_certificate(leaf, name),
            (Some((leaf, above)), Some(verifier)) => verifier
                .verify_server_cert(leaf, above, name, &[], UnixTime::now())
                .map(|_| ()),
            (None, _) => Err(rustls::Error::NoCertificatesPresented),
            (_, None) => Err(unknown),
        };
        verdict.map_err(|error| Box::new(classify::untrusted_chain(chain, &error)))
    }
}

/// Judges a server's certificate that is itself configured as trusted: Go's verification asks no more
/// than the name and the dates, while the TLS library takes no authority for a server.
fn own_certificate(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let bad = |error| rustls::Error::InvalidCertificate(error);
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|_| bad(CertificateError::BadEncoding))?;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(bad(CertificateError::NotValidYet));
    }
    if now > validity.not_after.timestamp() {
        return Err(bad(CertificateError::Expired));
    }
    Ok(())
}

/// How large a hello is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    /// cloudflared's key exchange: X25519MLKEM768 with the only key share, then P-256.
    Large,
    /// The same with `--post-quantum`: X25519MLKEM768 only, so a `HelloRetryRequest` for P-256 fails.
    ///
    /// Nothing else is changed, so the record is the two bytes of P-256's code point shorter. How long
    /// cloudflared's is with that option is not known: it was not measured.
    PostQuantum,
    /// A classical key exchange, and no filler.
    Small,
}

fn tunnel_config(hello: Hello, alpn: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
    let (kx_groups, filler) = match hello {
        Hello::Large => (
            vec![kx_group::X25519MLKEM768, kx_group::SECP256R1],
            HELLO_FILLER,
        ),
        Hello::PostQuantum => (vec![kx_group::X25519MLKEM768], HELLO_FILLER),
        Hello::Small => (vec![kx_group::X25519, kx_group::SECP256R1], 0),
    };
    let provider = CryptoProvider {
        kx_groups,
        secure_random: &NameFirst,
        ..aws_lc_rs::default_provider()
    };
    let mut config = probe_config(provider, filler)?;
    if hello != Hello::Small {
        config.cert_decompressors = vec![&OddOctet];
    }
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn https_config() -> Result<ClientConfig, rustls::Error> {
    let mut config = probe_config(aws_lc_rs::default_provider(), 0)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn probe_config(provider: CryptoProvider, filler: usize) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(provider);
    let verifier = Arc::new(JudgedLater {
        provider: Arc::clone(&provider),
        filler,
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A resumed session would shorten the hello, and presents no certificate to judge.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn dot_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}

/// How many code points fill the hello up to cloudflared's length, two octets for each: the record
/// that carries it over TCP is 1461 octets long with `h2.cftunnel.com`.
const HELLO_FILLER: usize = 13;

/// Random numbers that keep the extensions of the hello in one order.
///
/// The TLS library shuffles them by two random octets, and the server name would end up now in the
/// first segment and now in the second. cloudflared's always has it first and the key share last, so
/// a filter that reads the first segment alone cuts cloudflared every time. Nothing else in the
/// library draws two octets; a test reads the order on the wire.
#[derive(Debug)]
struct NameFirst;

impl NameFirst {
    /// Found by trying all: the name first and the key share last, over TCP and over QUIC.
    const ORDER: [u8; 2] = 0x682d_u16.to_be_bytes();
}

impl SecureRandom for NameFirst {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        match buffer {
            [_, _] => buffer.copy_from_slice(&Self::ORDER),
            _ => aws_lc_rs::default_provider().secure_random.fill(buffer)?,
        }
        Ok(())
    }
}

/// The odd octet of that length: a compression of certificates (RFC 8879) from the range for private
/// use, which no server chooses.
#[derive(Debug)]
struct OddOctet;

impl CertDecompressor for OddOctet {
    fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<(), DecompressionFailed> {
        Err(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Unknown(0xff01)
    }
}

/// Accepts every certificate for the time being, but no handshake without the key's signature.
///
/// Safe because a handshake becomes a success only through [`Trust::judge_edge`] or
/// [`Trust::judge_https`], and because nothing secret is ever sent.
#[derive(Debug)]
struct JudgedLater {
    provider: Arc<CryptoProvider>,
    filler: usize,
}

impl ServerCertVerifier for JudgedLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    /// Behind the real schemes come code points of the private-use range (RFC 8446, section 4.2.3),
    /// which no server chooses.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        let filler = (0xfe00_u16..)
            .take(self.filler)
            .map(SignatureScheme::Unknown);
        schemes.extend(filler);
        schemes
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// What `openssl req -x509` makes of a server's name.
    fn self_signed(last_year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["h2.cftunnel.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn trusts(
        pool: &[CertificateDer<'static>],
        leaf: &CertificateDer<'static>,
        name: &'static str,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(pool.iter().cloned());
        let judge = Judge::new(Arc::new(roots), pool.to_vec()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        judge.judge(std::slice::from_ref(leaf), &name).is_ok()
    }

    #[test]
    fn a_configured_server_certificate_is_trusted_for_its_name_and_time() {
        let (leaf, other, expired) = (self_signed(3000), self_signed(3000), self_signed(2001));
        let pool = [leaf.clone(), expired.clone()];
        assert!(trusts(&pool, &leaf, "h2.cftunnel.com"));
        assert!(!trusts(&pool, &leaf, "quic.cftunnel.com"));
        assert!(!trusts(&pool, &other, "h2.cftunnel.com"));
        assert!(!trusts(&pool, &expired, "h2.cftunnel.com"));
        assert!(!trusts(&[], &leaf, "h2.cftunnel.com"));
    }
}
