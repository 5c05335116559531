//! Sessions that were opened after a caller's own began: at a server that was down, restarted, or did not fit in the
//! token. Kept in memory, so that not each call opens one; whoever does not find them here opens another.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use parking_lot::Mutex;

use super::sessions::Upstream;

/// How many are kept. Beyond, the one that was opened first is forgotten.
const KEPT_MAX: usize = 4096;

type Key = ([u8; 32], Arc<str>);

/// Sessions that were opened later.
#[derive(Default)]
pub(crate) struct Openings(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_key: HashMap<Key, (u64, Upstream)>,
    count: u64,
}

impl Openings {
    pub(crate) fn get(&self, token: &str, server: &Arc<str>) -> Option<Upstream> {
        self.0.lock().by_key.get(&(of(token), Arc::clone(server))).map(|(_, session)| session.clone())
    }

    pub(crate) fn put(&self, token: &str, session: Upstream) {
        let mut kept = self.0.lock();
        let key = (of(token), Arc::clone(&session.server));
        if !kept.by_key.contains_key(&key) && kept.by_key.len() >= KEPT_MAX {
            let first = kept.by_key.iter().min_by_key(|(_, (count, _))| *count).map(|(key, _)| key.clone());
            if let Some(first) = first {
                kept.by_key.remove(&first);
            }
        }
        kept.count += 1;
        let count = kept.count;
        kept.by_key.insert(key, (count, session));
    }

    pub(crate) fn forget(&self, token: &str) {
        let token = of(token);
        self.0.lock().by_key.retain(|(own, _), _| *own != token);
    }
}

fn of(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    #[test]
    fn they_are_of_one_token_and_bounded() {
        let openings = Openings::default();
        let docs: Arc<str> = "docs".into();
        let session = Upstream {
            server: docs.clone(),
            endpoint: None,
            id: "1".into(),
            revision: Revision::V2025_11_25,
        };
        for at in 0..=KEPT_MAX {
            openings.put(&at.to_string(), session.clone());
        }
        assert_eq!(openings.get("0", &docs), None);
        assert_eq!(openings.get("1", &docs), Some(session));
        openings.forget("1");
        assert_eq!(openings.get("1", &docs), None);
        assert!(openings.get("2", &docs).is_some());
    }
}
