//! What the listeners of the edge show in handshakes, made of the Secrets that they name.
//!
//! *Flow*: asked at each handshake, under the snapshot of the moment. *Guarantees*: a Secret that changed is shown
//! from the next handshake on; a listener of which one certificate is unusable shows the others; one that has none
//! shows nothing. *Caveats*: what was made is kept until its listener or one of its Secrets changes.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::{
    names::ObjectName,
    resource::{Listener, ListenerRole, Secret},
    snapshot::Snapshot,
};
use parking_lot::Mutex;
use transport::tls::{EdgeTls, ServerCertificate};

use super::ListenerName;

/// The entry of a Secret of type `kubernetes.io/tls` that holds the chain.
const CHAIN: &str = "tls.crt";
/// The entry that holds the key.
const KEY: &str = "tls.key";

/// What the listeners show. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    made: Arc<Mutex<HashMap<ListenerName, Made>>>,
}

#[derive(Debug)]
struct Made {
    // Of what it was made: the same pointers, the same things.
    listener: Arc<Listener>,
    secrets: Vec<Option<Arc<Secret>>>,
    tls: Option<EdgeTls>,
    troubles: Vec<String>,
}

impl Made {
    fn is_of(&self, listener: &Arc<Listener>, secrets: &[Option<Arc<Secret>>]) -> bool {
        let same = |one: &Option<Arc<Secret>>, two: &Option<Arc<Secret>>| match (one, two) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        Arc::ptr_eq(&self.listener, listener)
            && self.secrets.len() == secrets.len()
            && self.secrets.iter().zip(secrets).all(|(one, two)| same(one, two))
    }
}

impl Certificates {
    /// What a listener shows now; `None` if it has nothing to show.
    pub fn of(&self, snapshot: &Snapshot, listener: &Arc<Listener>, now: SystemTime) -> Option<EdgeTls> {
        let ListenerRole::Https { certificates } = &listener.role else { return None };
        let secrets: Vec<_> = certificates.iter().map(|name| snapshot.secret(name).cloned()).collect();
        let mut made = self.made.lock();
        let name = ListenerName::of(listener);
        if let Some(found) = made.get(&name).filter(|found| found.is_of(listener, &secrets)) {
            return found.tls.clone();
        }
        let fresh = make(listener, certificates, secrets, now);
        for trouble in &fresh.troubles {
            tracing::warn!(
                listener = listener.key_name(),
                trouble,
                "a certificate of the edge is not as it should be"
            );
        }
        let tls = fresh.tls.clone();
        made.insert(name, fresh);
        tls
    }

    /// What is wrong with what a listener shows.
    pub fn troubles(&self, listener: &Listener) -> Vec<String> {
        self.made.lock().get(&ListenerName::of(listener)).map_or_else(Vec::new, |made| made.troubles.clone())
    }

    /// Forgets listeners that are gone.
    pub fn retain(&self, snapshot: &Snapshot) {
        let mut made = self.made.lock();
        if !made.is_empty() {
            let there: std::collections::HashSet<_> =
                snapshot.listeners().map(|it| ListenerName::of(it)).collect();
            made.retain(|name, _| there.contains(name));
        }
    }
}

fn make(
    listener: &Arc<Listener>,
    names: &[ObjectName],
    secrets: Vec<Option<Arc<Secret>>>,
    now: SystemTime,
) -> Made {
    let mut usable = Vec::new();
    let mut troubles = Vec::new();
    for (name, secret) in names.iter().zip(&secrets) {
        match secret.as_ref().ok_or_else(|| "it is not held".to_owned()).and_then(|it| read(it)) {
            Ok(certificate) => {
                // It is shown all the same: whoever connects is told better by it than by nothing.
                if let Ok(ago) = now.duration_since(certificate.ends()) {
                    troubles.push(format!("{name} ended {} ago", whole_minutes(ago)));
                }
                usable.push(certificate);
            }
            Err(trouble) => troubles.push(format!("{name}: {trouble}")),
        }
    }
    if names.is_empty() {
        troubles.push("the listener names no certificate".to_owned());
    }
    Made { listener: Arc::clone(listener), secrets, tls: EdgeTls::new(usable), troubles }
}

fn whole_minutes(span: Duration) -> String {
    format!("{} minutes", span.as_secs() / 60)
}

fn read(secret: &Secret) -> Result<ServerCertificate, String> {
    let entry = |key: &str| secret.data.get(key).ok_or_else(|| format!("it has no {key}"));
    let (chain, key) = (entry(CHAIN)?, entry(KEY)?);
    ServerCertificate::from_pem(chain.reveal(), key.reveal()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mesh::{
        resource::{Hidden, Key, Kind, Resource},
        snapshot::{Change, NoExpressions},
    };

    use super::*;

    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (made.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn secret(name: &str, data: &[(&str, &str)]) -> Resource {
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| (Arc::from(*key), Hidden(Arc::from(*value)))).collect();
        Resource::Secret(Arc::new(Secret { name: ObjectName::new("Secret", "edge", name), data }))
    }

    #[test]
    fn a_listener_shows_what_can_be_used_and_says_what_cannot() {
        let listener = Listener {
            gateway: ObjectName::new("Gateway", "edge", "ingress"),
            name: "https".into(),
            port: 443,
            role: ListenerRole::Https {
                certificates: ["one", "two"].map(|name| ObjectName::new("Secret", "edge", name)).into(),
            },
            hostname: None,
            set: "open".into(),
            traffic: mesh::resource::Traffic::default(),
        };
        let (chain, key) = pair();
        let mut snapshot = Snapshot::default();
        let mut set = |change: Change| {
            let applied = snapshot.apply(vec![change], &NoExpressions);
            assert_eq!(applied.rejected, []);
            snapshot = applied.snapshot;
            snapshot.clone()
        };
        let put = |it| Change::Set("v1".into(), it);
        let world = set(put(Resource::Listener(Arc::new(listener))));
        let listener = Arc::clone(world.listeners().next().unwrap());
        let certificates = Certificates::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let shows = |world: &Snapshot| {
            let shown = certificates.of(world, &listener, now).is_some();
            (shown, certificates.troubles(&listener))
        };
        let (shown, troubles) = shows(&world);
        assert!(!shown && troubles.len() == 2, "{troubles:?}");
        let world = set(put(secret("one", &[("tls.crt", &chain)])));
        assert_eq!(
            shows(&world),
            (
                false,
                vec![
                    "Secret/edge/one: it has no tls.key".to_owned(),
                    "Secret/edge/two: it is not held".to_owned(),
                ]
            )
        );
        let world = set(put(secret("two", &[("tls.crt", &chain), ("tls.key", &key)])));
        let (shown, troubles) = shows(&world);
        assert!(shown && troubles.len() == 1, "{troubles:?}");
        let world = set(put(secret("one", &[("tls.crt", &chain), ("tls.key", &key)])));
        assert_eq!(shows(&world), (true, Vec::new()));
        let name = ObjectName::new("Secret", "edge", "one");
        let world = set(Change::Remove(Key::new(Kind::Secret, name)));
        assert_eq!(shows(&world).1.len(), 1);
        let text = format!("{certificates:?}");
        assert!(!text.contains("PRIVATE KEY") && !text.contains(&key[40..60]), "{text}");
    }
}
