//! Signs identities: requests, entitlement, signing, root rotation, bundles, revocation.
