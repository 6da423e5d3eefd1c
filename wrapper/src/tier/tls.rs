//! TLS to tiers: whom larder trusts.
//!
//! Trusted are the authorities of this system and those of the tier's `ca-file`. Nothing switches
//! the check of a server's name or certificate off.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::open::small_file;
use super::{TierError, TierErrorKind};

/// The one provider of cryptography, which needs nothing but a C compiler to build.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of all authorities.
///
/// # Errors
/// If `ca_file` cannot be read or has no certificate. What the system has may be unreadable.
pub(super) fn authorities(
    tier: &str,
    ca_file: Option<&PathBuf>,
) -> Result<Vec<CertificateDer<'static>>, TierError> {
    let mut all = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = ca_file {
        let text = small_file(tier, path)?;
        let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match own {
            Ok(own) if !own.is_empty() => all.extend(own),
            _ => {
                let text = format!("{tier}: {} has no certificates", path.display());
                return Err(TierError::new(TierErrorKind::Denied, text));
            }
        }
    }
    Ok(all)
}

/// What a connection needs to know.
///
/// # Errors
/// As [`authorities`].
pub(super) fn client(
    tier: &str,
    ca_file: Option<&PathBuf>,
) -> Result<Arc<ClientConfig>, TierError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities(tier, ca_file)?);
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| {
        TierError::new(TierErrorKind::Protocol, format!("{tier}: TLS: {error}"))
    })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
