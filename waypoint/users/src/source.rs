//! Where the keys of an issuer come from: inline, or fetched and kept for a while.
//!
//! *Flow*: keys that are held and fresh answer at once; an unknown key, or none held, asks for a fetch and waits for
//! it; keys past their freshness are used while a fetch runs beside. *Guarantees*: one fetch at a time, in a task of
//! its own, so that a client that leaves does not cost the others theirs; at most one a minute for a key that is not
//! there; 64 KiB and 5 s at most; what fails changes nothing but the time of the next attempt. *Caveats*: a key that
//! its issuer withdrew is trusted until the next fetch that succeeds, or for an hour if none does.

use std::{sync::Arc, time::Duration};

use exchange::{Errands, Request};
use http::StatusCode;
use mesh::resource::{BackendTarget, JwtKeys};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use crate::{Keys, Token};

/// Bytes of a fetched key set.
pub const FETCH_BYTES_MAX: usize = 64 * 1024;
/// How long a fetch may take.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long fetched keys are used without asking again.
pub const FRESH_FOR: Duration = Duration::from_secs(600);
/// For how long they are used when fetches fail.
pub const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Between two fetches while keys are held.
pub const REFRESH_PAUSE: Duration = Duration::from_secs(60);
/// Between two fetches while none are held.
pub const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) made_of: JwtKeys,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    // `None`: what stands there is no key set, and nobody's token is valid.
    Inline(Option<Arc<Keys>>),
    Fetched(Arc<Fetched>),
}

#[derive(Debug)]
struct Fetched {
    name: Arc<str>,
    target: BackendTarget,
    path: Arc<str>,
    state: Mutex<State>,
    // Counts fetches that ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<(Arc<Keys>, Instant)>,
    began: Option<Instant>,
    running: bool,
}

impl State {
    fn usable(&self, now: Instant) -> Option<(Arc<Keys>, Duration)> {
        let (keys, since) = self.held.as_ref()?;
        let age = now.saturating_duration_since(*since);
        (age < KEPT_FOR).then(|| (Arc::clone(keys), age))
    }

    /// Notes that a fetch begins, if one may begin now.
    fn begin(&mut self, now: Instant) -> bool {
        let pause = if self.usable(now).is_some() { REFRESH_PAUSE } else { RETRY_PAUSE };
        let early = self.began.is_some_and(|began| now.saturating_duration_since(began) < pause);
        if self.running || early {
            return false;
        }
        self.running = true;
        self.began = Some(now);
        true
    }
}

impl Source {
    pub(crate) fn new(name: &Arc<str>, keys: &JwtKeys) -> Self {
        let kind = match keys {
            JwtKeys::Inline(text) => {
                let keys = Keys::read(text.as_bytes());
                if let Err(error) = &keys {
                    tracing::warn!(issuer = %name, %error, "the inline keys cannot be used");
                }
                Kind::Inline(keys.ok().map(Arc::new))
            }
            JwtKeys::Fetched { target, path } => Kind::Fetched(Arc::new(Fetched {
                name: Arc::clone(name),
                target: target.clone(),
                path: Arc::clone(path),
                state: Mutex::default(),
                ended: watch::Sender::new(0),
            })),
        };
        Self { made_of: keys.clone(), kind }
    }

    /// The keys by which this token is verified; `None`: none could be had.
    pub(crate) async fn keys(&self, token: &Token<'_>, errands: &Errands) -> Option<Arc<Keys>> {
        match &self.kind {
            Kind::Inline(keys) => keys.clone(),
            Kind::Fetched(fetched) => fetched.keys(token, errands).await,
        }
    }
}

impl Fetched {
    async fn keys(self: &Arc<Self>, token: &Token<'_>, errands: &Errands) -> Option<Arc<Keys>> {
        let mut ended = self.ended.subscribe();
        ended.mark_unchanged();
        let (usable, running) = {
            let now = Instant::now();
            let mut state = self.state.lock();
            let usable = state.usable(now);
            let known = usable.as_ref().filter(|(keys, _)| keys.has(token));
            let wanted = known.is_none_or(|(_, age)| *age >= FRESH_FOR);
            if wanted && state.begin(now) {
                tokio::spawn(Arc::clone(self).fetch(errands.clone()));
            }
            if let Some((keys, _)) = known {
                return Some(Arc::clone(keys));
            }
            (usable, state.running)
        };
        if running {
            // The fetch has a bound of its own; this one is for a task that is gone.
            let _ = tokio::time::timeout(FETCH_TIMEOUT * 2, ended.changed()).await;
            return self.state.lock().usable(Instant::now()).map(|(keys, _)| keys);
        }
        usable.map(|(keys, _)| keys)
    }

    async fn fetch(self: Arc<Self>, errands: Errands) {
        let fetched = self.get(&errands).await;
        {
            let mut state = self.state.lock();
            state.running = false;
            match fetched {
                Ok(keys) => state.held = Some((Arc::new(keys), Instant::now())),
                Err(error) => tracing::warn!(issuer = %self.name, %error, "its keys cannot be fetched"),
            }
        }
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn get(&self, errands: &Errands) -> Result<Keys, String> {
        let mut request = Request::default();
        *request.uri_mut() = self.path.parse().map_err(|_| format!("{:?} is no path", self.path))?;
        request.headers_mut().insert(
            http::header::ACCEPT,
            http::HeaderValue::from_static("application/jwk-set+json, application/json"),
        );
        let answer = errands
            .send(&self.target, request, FETCH_TIMEOUT, FETCH_BYTES_MAX)
            .await
            .map_err(|error| error.to_string())?;
        // Redirects are not followed: whoever answers elsewhere was not named as the source.
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        Keys::read(answer.body()).map_err(|error| error.to_string())
    }
}
