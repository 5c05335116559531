//! The cryptography that we use, said explicitly: nothing depends on what else is linked into the process.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{
    CryptoProvider,
    aws_lc_rs::{self, cipher_suite, kx_group},
};

/// Hybrid post-quantum key exchange first, classical ones for peers that lack it; AES-128-GCM before AES-256-GCM,
/// because it costs less and neither is the weakest link.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
            ],
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

/// For strangers: as above, and TLS 1.2 with forward secrecy and authenticated encryption.
pub(crate) fn for_strangers() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider { kx_groups: provider().kx_groups.clone(), ..aws_lc_rs::default_provider() })
    });
    PROVIDER.clone()
}
