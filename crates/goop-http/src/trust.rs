//! Whom this machine trusts.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// The certificates this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed). They take a megabyte and a file
/// to read, so ask when they are needed.
#[must_use]
pub fn of_the_machine() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a certificate of the system cannot be read");
    }
    found.certs
}

/// Trusts those of the machine; on a machine without any, those that browsers trust. Read once, and only when somebody
/// asks for https.
pub(crate) fn with_roots() -> ClientConfig {
    static CONFIG: OnceLock<ClientConfig> = OnceLock::new();
    CONFIG.get_or_init(|| trusting(of_the_machine())).clone()
}

pub(crate) fn trusting(certificates: Vec<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    config(roots)
}

/// Trusts nobody.
pub(crate) fn without_roots() -> ClientConfig {
    config(RootCertStore::empty())
}

fn config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol versions that rustls calls safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
