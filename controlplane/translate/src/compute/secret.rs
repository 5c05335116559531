//! Secrets: what AgentBackends and listeners name of them, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{Name, Object, core::Secret as Said};
use mesh::resource::{Hidden, Resource, Secret};

use crate::{
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
    let wanted = wanted(reader, name);
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

fn wanted(reader: &Reader<'_>, secret: &Name) -> BTreeSet<(Arc<str>, Kept)> {
    let mut wanted = BTreeSet::new();
    for (name, object) in reader.leading_to(secret) {
        match object {
            Object::AgentBackend(backend) => {
                let named = references::secrets_of_backend(name, &backend.spec);
                let keys =
                    named.filter(|(named, _)| named == secret).map(|(_, key)| (key.into(), Kept::Token));
                wanted.extend(keys);
            }
            Object::Gateway(_) => {
                wanted.extend([TLS_CERTIFICATE, TLS_KEY].map(|key| (key.into(), Kept::Whole)));
            }
            _ => {}
        }
    }
    wanted
}
