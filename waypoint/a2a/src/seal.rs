//! What ids of tasks and contexts look like to a caller and to an agent.
//!
//! What an agent made (a task, a context) is shown to the caller as a *token*: sealed, good for one owner and one
//! backend, and leading to the endpoint where it lives. It is made without chance, so the same id always is the same
//! token, which callers compare. What a caller made (a context) is *bound* before an agent sees it: the agent's id
//! begins with a mark that only we can make, and only for this caller. A context that nobody named is *fresh*: a UUID
//! (version 8) half of which is such a mark, so that the tasks in it can be known for the caller's in a list.
//!
//! Any replica with the key does all of this alike.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mesh::{names::WorkloadUid, resource::BackendTarget};
use runtime::vault::{self, KeyError, Vault};
use serde::{Deserialize, Serialize};

/// How long an id of an agent or a caller may be, in bytes.
pub const ID_MAX: usize = 1024;

/// The form of tokens, so that a later one can be told apart.
const FORM: u8 = 1;
/// Bytes of the mark before what a caller chose.
const MARK: usize = 16;

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A task.
    #[serde(rename = "t")]
    Task,
    /// A context.
    #[serde(rename = "c")]
    Context,
    /// Where a list goes on.
    #[serde(rename = "p")]
    Page,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// What it stands for.
    #[serde(rename = "k")]
    pub kind: Kind,
    /// Whose it is, see [`owner`].
    #[serde(rename = "o")]
    pub owner: String,
    /// Which backend it lives at, of those that the route leads to.
    #[serde(rename = "t")]
    pub target: BackendTarget,
    /// Where it lives.
    #[serde(rename = "e")]
    pub endpoint: WorkloadUid,
    /// What the agent calls it.
    #[serde(rename = "u")]
    pub upstream: String,
}

/// Seals and opens tokens, makes and knows marks.
pub struct Sealer {
    vault: Vault,
    // Of the current key, then of those it replaced.
    marks: Vec<hmac::Key>,
}

/// Names an owner: a caller, by a route.
pub fn owner(principal: &str, route: Option<&str>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    part(&mut |bytes| context.update(bytes), principal);
    part(
        &mut |bytes| context.update(bytes),
        route.map_or(String::new(), |route| format!("r{route}")).as_str(),
    );
    URL_SAFE_NO_PAD.encode(&context.finish().as_ref()[..MARK])
}

/// With its length before it, so that no two lists of parts are alike.
fn part(update: &mut dyn FnMut(&[u8]), text: &str) {
    update(&(text.len() as u64).to_be_bytes());
    update(text.as_bytes());
}

impl Sealer {
    /// Seals by the current key, and opens by it and by those it replaced. Replicas that share tasks share keys.
    ///
    /// # Errors
    /// When a key has not 32 bytes, or there are too many.
    pub fn new(current: &[u8], former: &[Vec<u8>]) -> Result<Self, KeyError> {
        let vault = Vault::new("a2a", current, former)?;
        let keys = std::iter::once(current).chain(former.iter().map(Vec::as_slice));
        let marks = keys.map(|key| vault::derived(key, "a2a mark")).collect::<Result<_, _>>()?;
        Ok(Self { vault, marks })
    }

    /// The token of this, always the same.
    pub fn seal(&self, sealed: &Sealed) -> Option<String> {
        self.vault.seal_alike(FORM, "", serde_json::to_vec(sealed).ok()?)
    }

    /// What a token says, if it is ours and whole.
    pub fn open(&self, token: &str) -> Option<Sealed> {
        serde_json::from_slice(&self.vault.open(FORM, "", token)?).ok()
    }

    /// What an agent is told in place of a context that this caller chose.
    pub fn bind(&self, principal: &str, chosen: &str) -> String {
        format!(
            "{}.{chosen}",
            URL_SAFE_NO_PAD.encode(&mark_of(self.current(), "chosen", principal, chosen)[..MARK])
        )
    }

    /// What this caller chose, if the agent's context was bound for it.
    pub fn unbind<'a>(&self, principal: &str, upstream: &'a str) -> Option<&'a str> {
        let (mark, chosen) = upstream.split_once('.')?;
        let mark = URL_SAFE_NO_PAD.decode(mark).ok()?;
        let ours = |key| same(&mark, &mark_of(key, "chosen", principal, chosen)[..MARK]);
        self.marks.iter().any(ours).then_some(chosen)
    }

    /// A context for a message of this caller that names none, of chance.
    pub fn fresh(&self, principal: &str, chance: [u8; 8]) -> String {
        uuid(&half(chance), &mark_of_fresh(self.current(), principal, &half(chance)))
    }

    /// True if this context was made by [`Sealer::fresh`] for this caller.
    pub fn is_fresh(&self, principal: &str, upstream: &str) -> bool {
        let Some(bytes) = bytes_of(upstream) else { return false };
        let (first, last) = bytes.split_at(8);
        let Ok(first) = <[u8; 8]>::try_from(first) else { return false };
        half(first) == first
            && self.marks.iter().any(|key| same(last, &mark_of_fresh(key, principal, &first)))
    }

    fn current(&self) -> &hmac::Key {
        self.marks.first().expect("a sealer is made with a current key")
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sealer({} former keys)", self.marks.len() - 1)
    }
}

fn mark_of(key: &hmac::Key, use_: &str, principal: &str, text: &str) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for text in [use_, principal, text] {
        part(&mut |bytes| context.update(bytes), text);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

fn mark_of_fresh(key: &hmac::Key, principal: &str, first: &[u8; 8]) -> [u8; 8] {
    let mark = mark_of(key, "fresh", principal, &URL_SAFE_NO_PAD.encode(first));
    let mut last = [0; 8];
    last.copy_from_slice(&mark[..8]);
    // The variant of RFC 9562.
    last[0] = last[0] & 0x3f | 0x80;
    last
}

/// The first half of a UUID, with the version of RFC 9562 for what is nobody else's: 8.
fn half(mut bytes: [u8; 8]) -> [u8; 8] {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes
}

fn uuid(first: &[u8; 8], last: &[u8; 8]) -> String {
    let mut out = String::with_capacity(36);
    for (at, byte) in first.iter().chain(last).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

fn bytes_of(text: &str) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    if text.len() != 36 || !text.is_ascii() {
        return None;
    }
    let digits: String = text.split('-').collect();
    if digits.len() != 32 {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    // Only the one way in which it is written.
    let (first, last) = out.split_at(8);
    (uuid(first.try_into().ok()?, last.try_into().ok()?) == text).then_some(out)
}

fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use mesh::names::ServiceKey;

    use super::*;

    const PLANNER: &str = "spiffe://east/ns/agents/sa/planner";
    const INTERN: &str = "spiffe://east/ns/agents/sa/intern";

    fn sealer(key: u8, former: &[u8]) -> Sealer {
        let former: Vec<Vec<u8>> = former.iter().map(|key| vec![*key; 32]).collect();
        Sealer::new(&[key; 32], &former).unwrap()
    }

    fn sealed() -> Sealed {
        Sealed {
            kind: Kind::Task,
            owner: owner(PLANNER, Some("shop/r")),
            target: BackendTarget::Service {
                service: ServiceKey { namespace: "shop".into(), hostname: "researcher.shop.svc".into() },
                port: 80,
            },
            endpoint: "west/MeshWorkload/shop/researcher-1".into(),
            upstream: "task-1".into(),
        }
    }

    #[test]
    fn a_token_says_on_every_replica_what_was_sealed_and_is_always_the_same() {
        let token = sealer(1, &[]).seal(&sealed()).unwrap();
        assert_eq!(sealer(1, &[]).seal(&sealed()).unwrap(), token);
        assert_eq!(sealer(1, &[]).open(&token), Some(sealed()));
        assert_eq!(sealer(2, &[1]).open(&token), Some(sealed()));
        assert_eq!(sealer(2, &[]).open(&token), None);
        assert!(!token.contains("task-1"));
        let other = Sealed { upstream: "task-2".into(), ..sealed() };
        assert_ne!(sealer(1, &[]).seal(&other).unwrap()[..17], token[..17]);
    }

    #[test]
    fn what_was_changed_or_is_not_ours_does_not_open() {
        let sealer = sealer(1, &[]);
        let token = sealer.seal(&sealed()).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(&String::from_utf8(other).unwrap()), None, "{at}");
        }
        for other in ["", "AQ", "task-1", &token[..token.len() - 1], &format!("{token}A")] {
            assert_eq!(sealer.open(other), None, "{other}");
        }
    }

    #[test]
    fn owners_are_callers_by_routes() {
        let all = [
            owner("a", None),
            owner("a", Some("")),
            owner("a", Some("b")),
            owner("ab", None),
            owner("b", Some("a")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }

    #[test]
    fn what_a_caller_chose_is_its_own() {
        let (sealer, replica) = (sealer(1, &[]), sealer(3, &[1]));
        for chosen in ["my-context", "", "a.b", "\u{e4}"] {
            let bound = sealer.bind(PLANNER, chosen);
            assert_eq!(replica.unbind(PLANNER, &bound), Some(chosen));
            assert_eq!(replica.unbind(INTERN, &bound), None);
            assert_ne!(sealer.bind(INTERN, chosen), bound);
        }
        for not_ours in ["my-context", ".", "AAAA.my-context", ""] {
            assert_eq!(sealer.unbind(PLANNER, not_ours), None, "{not_ours}");
        }
    }

    #[test]
    fn a_fresh_context_is_a_uuid_and_known_again() {
        let sealer = sealer(1, &[]);
        for chance in [[0; 8], [0xff; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
            let fresh = sealer.fresh(PLANNER, chance);
            assert_eq!((fresh.len(), fresh.as_bytes()[14]), (36, b'8'));
            assert!(sealer.is_fresh(PLANNER, &fresh));
            assert!(!sealer.is_fresh(INTERN, &fresh));
            assert!(!sealer.is_fresh(PLANNER, &fresh.to_uppercase()) || fresh == fresh.to_uppercase());
        }
        for other in ["", "00000000-0000-8000-8000-000000000000", "00000000-0000-8000-8000-00000000000\u{e4}"]
        {
            assert!(!sealer.is_fresh(PLANNER, other), "{other}");
        }
    }
}
