//! TLS to the database, as `sslmode` of the URL asks: the words and meanings of PostgreSQL's own clients.
//!
//! `disable`: none. `prefer` (when the URL says nothing): if the server can, not verified. `require`: always; verified as
//! `verify-ca` when `ca` names authorities, not verified otherwise. `verify-ca`: the certificate must come from an
//! authority of `ca` (or of the system). `verify-full`: and must name the host.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier as SystemVerifier;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How much of the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// What a URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Whether there is TLS.
    pub(crate) ssl: SslMode,
    level: Level,
}

impl Mode {
    /// Reads the value of `sslmode`.
    pub(crate) fn parse(word: &str) -> Result<Self, String> {
        let (ssl, level) = match word {
            "disable" => (SslMode::Disable, Level::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Level::Nothing),
            "require" => (SslMode::Require, Level::Nothing),
            "verify-ca" => (SslMode::Require, Level::Authority),
            "verify-full" => (SslMode::Require, Level::AuthorityAndName),
            _ => return Err("its sslmode is none of: disable, prefer, require, verify-ca, verify-full".to_owned()),
        };
        Ok(Self { ssl, level })
    }
}

/// What connects with TLS. `authorities`: the PEM texts of `ca`.
pub(crate) fn connector(mode: Mode, authorities: &[Vec<u8>]) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut own = Vec::new();
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            own.push(certificate.map_err(|error| format!("`ca` is not a PEM certificate: {error}"))?);
        }
    }
    let level = match mode.level {
        Level::Nothing if mode.ssl == SslMode::Require && !own.is_empty() => Level::Authority,
        level => level,
    };
    let inner = inner(level, &own, &provider).map_err(|error| format!("`ca` cannot be used: {error}"))?;
    let verifier = Verifier { level, inner, own, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn inner(
    level: Level,
    own: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, Box<dyn std::error::Error>> {
    if level == Level::Nothing {
        return Ok(None);
    }
    if own.is_empty() {
        return Ok(Some(Arc::new(SystemVerifier::new(Arc::clone(provider))?)));
    }
    let mut roots = RootCertStore::empty();
    for certificate in own {
        roots.add(certificate.clone())?;
    }
    let verifier: Arc<dyn ServerCertVerifier> =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()?;
    Ok(Some(verifier))
}

#[derive(Debug)]
struct Verifier {
    level: Level,
    inner: Option<Arc<dyn ServerCertVerifier>>,
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        // A server with a certificate that signed itself (what `openssl req -x509` makes), and that `ca` is.
        if self.own.contains(end_entity) {
            if self.level == Level::AuthorityAndName {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything else was well.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.level == Level::Authority => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
