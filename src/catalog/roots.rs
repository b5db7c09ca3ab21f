//! Cloudflare's three own certificate authorities, which cloudflared trusts beside the system's
//! (cloudflared `tlsconfig/cloudflare_ca.go`).
//!
//! A trust anchor is exactly a subject and a public key, so these are all that is kept of them.

use rustls::pki_types::{Der, TrustAnchor};

/// Cloudflare's own roots as trust anchors.
#[must_use]
pub fn cloudflare_roots() -> Vec<TrustAnchor<'static>> {
    [
        (ECC_SUBJECT, p256_key(&unhex(ECC_POINT))),
        (RSA_SUBJECT, rsa_key(&unhex(RSA_MODULUS))),
        (PULL_SUBJECT, rsa_key(&unhex(PULL_MODULUS))),
    ]
    .map(|(subject, spki)| trust_anchor(&unhex(subject), &spki))
    .into()
}

/// An anchor from a DER `Name` and a DER `SubjectPublicKeyInfo`.
///
/// webpki wants the contents of both without the outer SEQUENCE; with it every chain would be an
/// unknown issuer, and only in production, since a laboratory brings its own authority.
#[must_use]
pub fn trust_anchor(subject: &[u8], spki: &[u8]) -> TrustAnchor<'static> {
    TrustAnchor {
        subject: Der::from(contents(subject).to_vec()),
        subject_public_key_info: Der::from(contents(spki).to_vec()),
        name_constraints: None,
    }
}

/// A `SubjectPublicKeyInfo` for an uncompressed P-256 point (RFC 5480).
fn p256_key(point: &[u8]) -> Vec<u8> {
    const EC_PUBLIC_KEY_P256: &str = "301306072a8648ce3d020106082a8648ce3d030107";
    spki(&unhex(EC_PUBLIC_KEY_P256), point)
}

/// A `SubjectPublicKeyInfo` for an RSA modulus with the exponent 65537 (RFC 8017).
fn rsa_key(modulus: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: &str = "300d06092a864886f70d0101010500";
    const EXPONENT: &[u8] = &[0x01, 0x00, 0x01];
    let key = [
        der(INTEGER, &[&[0], modulus].concat()),
        der(INTEGER, EXPONENT),
    ]
    .concat();
    spki(&unhex(RSA_ENCRYPTION), &der(SEQUENCE, &key))
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = der(BIT_STRING, &[&[0], key].concat());
    der(SEQUENCE, &[algorithm, &bits].concat())
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// A DER element (X.690) of up to 65,535 octets.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let length: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[low],
        (0, _) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, contents].concat()
}

/// What is inside a DER element: all after the tag and the length.
fn contents(element: &[u8]) -> &[u8] {
    let header = match element.get(1) {
        Some(long @ 0x80..) => 2 + usize::from(long & 0x7f),
        _ => 2,
    };
    element.get(header..).unwrap_or_default()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
            .unwrap_or(0)
    };
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// Subject of "`CloudFlare` Origin SSL ECC Certificate Authority", as DER.
const ECC_SUBJECT: &str = concat!(
    "30818f310b3009060355040613025553311330110603550408130a43616c69666f726e696131163014060355",
    "0407130d53616e204672616e636973636f31193017060355040a1310436c6f7564466c6172652c20496e632e",
    "31383036060355040b132f436c6f7564466c617265204f726967696e2053534c204543432043657274696669",
    "6361746520417574686f72697479",
);

/// Its public key, an uncompressed point on P-256.
const ECC_POINT: &str = concat!(
    "0491fac1802ee686b219d46dcc4aaf2fb42c45d9e0d63a25402d49e03a83cecade3680c69220f46e743e8929",
    "7d69216daacb7e9719bb4500a18cb6b2ed0484def0",
);

/// Subject of "`CloudFlare` Origin SSL Certificate Authority", as DER.
const RSA_SUBJECT: &str = concat!(
    "30818b310b300906035504061302555331193017060355040a1310436c6f7564466c6172652c20496e632e31",
    "343032060355040b132b436c6f7564466c617265204f726967696e2053534c20436572746966696361746520",
    "417574686f72697479311630140603550407130d53616e204672616e636973636f311330110603550408130a",
    "43616c69666f726e6961",
);

/// Its RSA modulus of 2048 bits; the exponent is 65537.
const RSA_MODULUS: &str = concat!(
    "c0489567f5284291e616c1ef9398ac07145e86e90ff031bd26115ebf7599b46efa5a84ed86f2c91512850875",
    "e657a679ffae99e12d3d9a0b14b85c2f27332713a123eb222c60d09bf6bf503916bc05d86b90d9fa91d4e5cb",
    "799d9f291b3a89a7c1b51f2e513156035d94fd17a11a1e3306d0e39f7c7e88876e53b607f2cab8d7c9cc031f",
    "4bba197b7e1bfaf2c1cab3ffd5b80248b75cd40c50735002d04b1042181cc9324d8271b8bdad5cee880f9702",
    "b285b0f26787b9f4de656d83c94a65c8fdc01ede35e3d4504b2599309e80ca7b4bf5df1785fa7177dac9921f",
    "4a81eda257dad04c5b84d6b453e6cece48970ac54b249601dc18760c70d7cd32294d1dbf",
);

/// Subject of "origin-pull.cloudflare.net", as DER.
const PULL_SUBJECT: &str = concat!(
    "308190310b300906035504061302555331193017060355040a1310436c6f7564466c6172652c20496e632e31",
    "143012060355040b130b4f726967696e2050756c6c311630140603550407130d53616e204672616e63697363",
    "6f311330110603550408130a43616c69666f726e6961312330210603550403131a6f726967696e2d70756c6c",
    "2e636c6f7564666c6172652e6e6574",
);

/// Its RSA modulus of 4096 bits; the exponent is 65537.
const PULL_MODULUS: &str = concat!(
    "ddb2db3a2361f9746ca7e1a74009045795fa342a6c2c37b079af10fc0b9aa0cbab29c8e36b595d1e72f75e19",
    "07d66bc1b2ff2b93b8e9ec5dfcbba32675766f7773731e6bb62433b28d31ce58ea6e76d04f6d1e8a1c7f5ab1",
    "783a464ac9d673b1d689b1600fba99431f93fb27cdaadeb7bcf2341d804e61aa3a85677725086ee5c6807084",
    "b69ace6dcd2499547f3764f7ba2e46f9c5180b97779710571f2360e39e53ad2c5aa98c7b840774ebe9a81f75",
    "6c9a184122951635201de4e937cb4da4a25f6fd2c89f7a6e9f76c2f4d28d1ed44a30d5f72a5fec00fabbabf0",
    "259ddbc0d8ac370e4ba6da61d0506773547a9c3a079af411a32cada1ed2b97f77cd358bd36bbbf7d76be9792",
    "b69dfd64a11dc85f8e346768bdf99e22540ebd36609b4f83158e6ecadf394eb707c8ee2d4a615bfe013a38c9",
    "c801b997d8f5fff6941848bfb047b996a56fd0fefc42bc68c51f8c317889c1069be4507c4c6fda73a9911e01",
    "7d0a6917f74b9a461f8e0b4ed78d375f48a1913e933d841d9984ba25fe77fcaa6a0b7680f91ef38366e2aedb",
    "e9ae29e5475e0c36fc0eb033b3b0ae29f1662c819391e10af6800c7ecf66953acffcefe4d5391d2bd788ab42",
    "cc5b83bb8fd97e2df845f1d778251f1c06f829f3515c9c0cb3151afb86694805f61ba467194e667ae5e9539f",
    "d5f83409a7f7baf57cb263a4570e8332c1a10594895706a8d1440da9",
);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{ServerName, UnixTime};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn sha256_hex(bytes: &[u8]) -> String {
        let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let hash = suite.tls13().unwrap().common.hash_provider.hash(bytes);
        hash.as_ref()
            .iter()
            .fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
    }

    #[test]
    fn the_keys_have_the_published_fingerprints() {
        let keys = [
            p256_key(&unhex(ECC_POINT)),
            rsa_key(&unhex(RSA_MODULUS)),
            rsa_key(&unhex(PULL_MODULUS)),
        ];
        assert_eq!(
            keys.map(|key| sha256_hex(&key)),
            [
                "9114b3916b6457dbf19b6fc04ea6b61aa33a98668e71a01ba60c08f8a5167d5e",
                "b6e8c8ca4c7ca5e6934efea031364927bbfedf086229499a60d83b5d587222b7",
                "e2ef9fe85ac39f522dc773505f399875aa75ac10c49766ca899f8f99b07da34c",
            ]
        );
    }

    #[test]
    fn the_subjects_are_whole_names() {
        for subject in [ECC_SUBJECT, RSA_SUBJECT, PULL_SUBJECT].map(unhex) {
            assert_eq!(der(SEQUENCE, contents(&subject)), subject);
        }
    }

    /// The constructor is tried on a generated authority, since nobody has the real ones' keys.
    #[test]
    fn a_leaf_verifies_through_an_anchor_of_the_same_constructor() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ] {
            let mut params = CertificateParams::new([]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer =
                CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap())
                    .unwrap();
            let key = KeyPair::generate().unwrap();
            let leaf = CertificateParams::new(["h2.cftunnel.com".to_owned()])
                .unwrap()
                .signed_by(&key, &issuer)
                .unwrap();
            let (_, parsed) = X509Certificate::from_der(issuer.der()).unwrap();
            let anchor = trust_anchor(parsed.subject().as_raw(), parsed.public_key().raw);
            let store = RootCertStore {
                roots: vec![anchor],
            };
            let verifier = WebPkiServerVerifier::builder_with_provider(
                Arc::new(store),
                Arc::new(aws_lc_rs::default_provider()),
            )
            .build()
            .unwrap();
            let name = ServerName::try_from("h2.cftunnel.com").unwrap();
            verifier
                .verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now())
                .unwrap();
        }
    }
}
