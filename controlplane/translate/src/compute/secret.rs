//! Secrets: what AgentBackends and listeners name of them, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{Name, Object, core::Secret as Said};
use mesh::resource::{Hidden, Resource, Secret};

use crate::{
    attach,
    binding::Gateway,
    made::Made,
    names,
    reader::Reader,
    references,
    secrets::{self, TLS_CERTIFICATE, TLS_KEY},
};

/// A Secret that nobody names is told to nobody. A value that cannot be read is left out, and whoever names it
/// says so.
pub(super) fn compute(reader: &Reader<'_>, name: &Name, secret: &Said) -> Made {
    let mut made = Made::default();
    let wanted = wanted(reader, name, secret);
    let data: BTreeMap<Arc<str>, Hidden> = wanted
        .into_iter()
        .filter_map(|(key, kind)| {
            let value = match kind {
                Kept::Token => secrets::token(secret, &key),
                Kept::Whole => secrets::value(secret, &key),
            };
            Some((key, Hidden(value.ok()?)))
        })
        .collect();
    if !data.is_empty() {
        made.add(Resource::Secret(Arc::new(Secret { name: names::object(name), data })));
    }
    made
}

/// How a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    /// As it stands in a header.
    Token,
    /// As it is.
    Whole,
}

fn may_name(reader: &Reader<'_>, gateway: &Name, secret: &Name) -> bool {
    let permitted = gateway.namespace == secret.namespace || attach::granted(reader, gateway, secret);
    permitted && Gateway::find(reader, gateway).is_ok()
}

fn wanted(reader: &Reader<'_>, secret: &Name, said: &Said) -> BTreeSet<(Arc<str>, Kept)> {
    let mut wanted = BTreeSet::new();
    for (name, object) in reader.leading_to(secret) {
        match object {
            Object::AgentBackend(backend) => {
                let named = references::secrets_of_backend(name, &backend.spec);
                let keys =
                    named.filter(|(named, _)| named == secret).map(|(_, key)| (key.into(), Kept::Token));
                wanted.extend(keys);
            }
            // Nobody is told what he may not name or cannot use.
            Object::Gateway(_)
                if may_name(reader, name, secret) && secrets::check_certificate(said).is_ok() =>
            {
                wanted.extend([TLS_CERTIFICATE, TLS_KEY].map(|key| (key.into(), Kept::Whole)));
            }
            _ => {}
        }
    }
    wanted
}
