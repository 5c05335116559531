//! Tests of a keeper against an authority in memory, in paused time.

use std::{collections::HashSet, sync::Mutex};

use mesh::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer as Signer, KeyPair, KeyUsagePurpose,
};
use runtime::{Drain, backoff};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// The system clock, moved by tokio's paused one.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.0.elapsed()
    }
}

fn id(name: &str) -> Identity {
    format!("spiffe://east/ns/shop/sa/{name}").parse().unwrap()
}

fn wanted(names: &[&str]) -> BTreeSet<Identity> {
    names.iter().map(|name| id(name)).collect()
}

/// A root that signs whatever it is asked.
struct Ca {
    signer: Signer<'static, KeyPair>,
    der: Vec<u8>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { der: certificate.der().to_vec(), pem: certificate.pem(), signer: Signer::new(params, key) }
    }
}

/// How the authority misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Refuses,
    Silent,
    OtherIdentity,
    OtherKey,
    OtherRoot,
    Garbage,
}

struct Authority {
    clock: Clock,
    life: Duration,
    mood: Mutex<Mood>,
    ca: Mutex<Arc<Ca>>,
    asked: Mutex<Vec<Identity>>,
    at_once: Mutex<(usize, usize)>,
    gate: Semaphore,
}

#[derive(Clone)]
struct Shared(Arc<Authority>);

impl Issuer for Shared {
    async fn issue(&self, request: &CertificateRequest) -> Result<Vec<String>, FetchError> {
        let authority = &self.0;
        authority.asked.lock().unwrap().push(request.identity().clone());
        {
            let mut at_once = authority.at_once.lock().unwrap();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        authority.gate.acquire().await.unwrap().forget();
        authority.gate.add_permits(1);
        authority.at_once.lock().unwrap().0 -= 1;
        let mood = *authority.mood.lock().unwrap();
        match mood {
            Mood::Refuses => return Err(FetchError::Other("not entitled".to_owned())),
            Mood::Silent => std::future::pending().await,
            Mood::Garbage => return Ok(vec!["garbage".to_owned(), "garbage".to_owned()]),
            _ => {}
        }
        let mut csr = CertificateSigningRequestParams::from_pem(request.csr_pem()).unwrap();
        let params = &mut csr.params;
        let now = authority.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now;
        params.not_after = params.not_before + authority.life;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if mood == Mood::OtherIdentity {
            params.subject_alt_names = vec![rcgen::SanType::URI(id("other").to_string().try_into().unwrap())];
        }
        let ca = Arc::clone(&authority.ca.lock().unwrap());
        let other = Ca::new();
        let signer = if mood == Mood::OtherRoot { &other.signer } else { &ca.signer };
        let leaf = match mood {
            Mood::OtherKey => csr.params.signed_by(&KeyPair::generate().unwrap(), signer).unwrap(),
            _ => csr.signed_by(signer).unwrap(),
        };
        Ok(vec![leaf.pem(), ca.pem.clone()])
    }
}

struct Rig {
    authority: Arc<Authority>,
    keeper: Keeper,
    clock: Clock,
    drain: Drain,
    running: JoinHandle<()>,
}

impl Rig {
    fn new(at_once_max: usize, store: Option<Store>) -> Self {
        let clock = Clock(Instant::now());
        Self::with(at_once_max, store, clock, Arc::new(Ca::new()))
    }

    fn with(at_once_max: usize, store: Option<Store>, clock: Clock, ca: Arc<Ca>) -> Self {
        let authority = Arc::new(Authority {
            clock,
            life: 24 * HOUR,
            mood: Mutex::new(Mood::Good),
            ca: Mutex::new(ca),
            asked: Mutex::default(),
            at_once: Mutex::default(),
            gate: Semaphore::new(1),
        });
        let backoff = backoff::Config { first: Duration::from_secs(1), most: Duration::from_secs(60) };
        let config = Config { schedule: schedule::Config { at_once_max, backoff }, ..Config::default() };
        let sources = Sources { now: Arc::new(move || clock.now()), chance: Arc::new(|| u64::MAX) };
        let keeper = Keeper::new(config, sources, store);
        let drain = Drain::new();
        let running = tokio::spawn({
            let (keeper, issuer, watch) = (keeper.clone(), Shared(Arc::clone(&authority)), drain.watch());
            async move { keeper.run(issuer, watch).await }
        });
        Self { authority, keeper, clock, drain, running }
    }

    fn mood(&self, mood: Mood) {
        *self.authority.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> Vec<Identity> {
        self.authority.asked.lock().unwrap().clone()
    }

    async fn until_failed(&self, name: &str) -> Row {
        loop {
            let row = self.keeper.report().into_iter().find(|row| row.identity == id(name)).unwrap();
            if row.last_failure.is_some() {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stop(self) {
        self.drain.advance(Phase::Closing);
        self.running.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_fetched_and_handed_out() {
    let rig = Rig::new(8, None);
    assert_eq!(rig.keeper.current(&id("planner")).unwrap_err(), CredentialError::Unknown(id("planner")));
    rig.keeper.set_wanted(&wanted(&["planner"]));
    assert_eq!(rig.keeper.current(&id("planner")).unwrap_err(), CredentialError::Pending(id("planner")));
    let credential = rig.keeper.wait(&id("planner")).await.unwrap();
    assert_eq!(credential.identity(), &id("planner"));
    let east: TrustDomain = "east".parse().unwrap();
    assert_eq!(
        credential.bundles().keys().collect::<Vec<_>>(),
        [&east],
        "the roots that the authority named"
    );
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let cases = [
        (Mood::Refuses, "not entitled"),
        (Mood::Silent, "did not answer within 10s"),
        (Mood::OtherIdentity, "not of spiffe://east/ns/shop/sa/planner alone"),
        (Mood::OtherKey, "not for the key that was sent"),
        (Mood::OtherRoot, "does not hold"),
        (Mood::Garbage, "not a certificate and, last, its roots"),
    ];
    for (mood, expected) in cases {
        let rig = Rig::new(8, None);
        rig.mood(mood);
        rig.keeper.set_wanted(&wanted(&["planner"]));
        let row = rig.until_failed("planner").await;
        assert!(row.last_failure.as_ref().is_some_and(|why| why.contains(expected)), "{row:?}");
        assert!(rig.keeper.current(&id("planner")).is_err());
        rig.mood(Mood::Good);
        assert!(rig.keeper.wait(&id("planner")).await.is_ok(), "it goes on trying");
        assert_eq!(rig.keeper.report()[0].last_failure, None);
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn renewal_is_at_half_life_and_told() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    let first = rig.keeper.wait(&id("planner")).await.unwrap();
    let mut changes = rig.keeper.changes();
    let began = Instant::now();
    assert_eq!(changes.next().await, Some(Change::Identity { identity: id("planner"), what: What::Issued }));
    // Chance is all of the jitter here: five eighths of a day.
    assert!(
        began.elapsed() >= 15 * HOUR - Duration::from_secs(1) && began.elapsed() <= 15 * HOUR + SLEEP_MAX
    );
    let second = rig.keeper.current(&id("planner")).unwrap();
    assert_ne!(first.own().serial, second.own().serial);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_can_be_asked_for() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    let first = rig.keeper.wait(&id("planner")).await.unwrap();
    let mut changes = rig.keeper.changes();
    let began = Instant::now();
    rig.keeper.renew(&id("planner"));
    assert_eq!(changes.next().await, Some(Change::Identity { identity: id("planner"), what: What::Issued }));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_ne!(rig.keeper.current(&id("planner")).unwrap().own().serial, first.own().serial);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_good_certificate_serves_until_its_end_which_is_told() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    let first = rig.keeper.wait(&id("planner")).await.unwrap();
    rig.mood(Mood::Refuses);
    let mut changes = rig.keeper.changes();
    let ended = tokio::spawn(async move { changes.next().await });
    while rig.clock.now() + Duration::from_secs(60) < first.own().not_after {
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(rig.keeper.current(&id("planner")).is_ok());
    }
    assert_eq!(ended.await.unwrap(), Some(Change::Identity { identity: id("planner"), what: What::Ended }));
    let end = first.own().not_after;
    let expired = CredentialError::Expired { identity: id("planner"), ended: end };
    assert_eq!(rig.keeper.current(&id("planner")).unwrap_err(), expired);
    assert!(rig.clock.now() < end + Duration::from_secs(2), "told when it ends");
    rig.mood(Mood::Good);
    assert!(rig.keeper.wait(&id("planner")).await.is_ok());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_bounded_and_who_is_waited_for_comes_first() {
    let rig = Rig::new(2, None);
    rig.authority.gate.forget_permits(1);
    rig.keeper.set_wanted(&wanted(&["a", "b", "c", "d", "e"]));
    while rig.asked().len() < 2 {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let keeper = rig.keeper.clone();
        async move { keeper.wait(&id("e")).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    rig.authority.gate.add_permits(1);
    waiting.await.unwrap().unwrap();
    for name in ["a", "b", "c", "d"] {
        rig.keeper.wait(&id(name)).await.unwrap();
    }
    assert_eq!(rig.asked()[2], id("e"));
    assert_eq!(rig.asked().iter().collect::<HashSet<_>>().len(), 5);
    assert_eq!(rig.authority.at_once.lock().unwrap().1, 2);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_any_more_is_forgotten() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["a", "b"]));
    rig.keeper.wait(&id("a")).await.unwrap();
    rig.keeper.wait(&id("b")).await.unwrap();
    let mut changes = rig.keeper.changes();
    rig.keeper.set_wanted(&wanted(&["b"]));
    assert_eq!(changes.next().await, Some(Change::Identity { identity: id("a"), what: What::Forgotten }));
    assert_eq!(rig.keeper.current(&id("a")).unwrap_err(), CredentialError::Unknown(id("a")));
    assert!(rig.keeper.current(&id("b")).is_ok());
    assert!(matches!(rig.keeper.wait(&id("a")).await, Err(CredentialError::Unknown(_))));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn subscribed_bundles_replace_the_named_roots() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    rig.keeper.wait(&id("planner")).await.unwrap();
    let mut changes = rig.keeper.changes();
    let (east, west) = ("east".parse().unwrap(), "west".parse().unwrap());
    let own = rig.authority.ca.lock().unwrap().der.clone();
    let bundles: Arc<Bundles> = Arc::new([(east, vec![own]), (west, vec![Ca::new().der])].into());
    rig.keeper.set_bundles(Arc::clone(&bundles));
    assert_eq!(changes.next().await, Some(Change::Bundles));
    assert_eq!(rig.keeper.current(&id("planner")).unwrap().bundles(), &bundles);
    // From here on the authority cannot name another root.
    *rig.authority.ca.lock().unwrap() = Arc::new(Ca::new());
    rig.keeper.set_wanted(&wanted(&["planner", "other"]));
    let row = rig.until_failed("other").await;
    assert!(row.last_failure.is_some_and(|why| why.contains("does not hold")));
    assert_eq!(rig.keeper.current(&id("planner")).unwrap().bundles(), &bundles);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_root_of_another_that_cannot_be_read_takes_nothing_from_us_and_gives_it_nothing() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    rig.keeper.wait(&id("planner")).await.unwrap();
    let (east, west, north): (TrustDomain, TrustDomain, TrustDomain) =
        ("east".parse().unwrap(), "west".parse().unwrap(), "north".parse().unwrap());
    let own = rig.authority.ca.lock().unwrap().der.clone();
    let believed = |others: Vec<(TrustDomain, Vec<Vec<u8>>)>| -> Arc<Bundles> {
        Arc::new(others.into_iter().chain([(east.clone(), vec![own.clone()])]).collect())
    };
    let good = Ca::new().der;
    rig.keeper.set_bundles(believed(vec![(north.clone(), vec![good.clone()])]));
    // North is not believed any more, and what west says cannot be read.
    rig.keeper.set_bundles(believed(vec![(west.clone(), vec![good, vec![1, 2, 3]])]));
    let held = rig.keeper.current(&id("planner")).unwrap();
    assert_eq!(held.bundles().keys().collect::<Vec<_>>(), [&east]);
    // And certificates go on being renewed.
    rig.keeper.set_wanted(&wanted(&["planner", "other"]));
    assert!(rig.keeper.wait(&id("other")).await.is_ok());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_root_signed_is_asked_for_anew_when_a_root_begins_to_sign() {
    let rig = Rig::new(8, None);
    rig.keeper.set_wanted(&wanted(&["planner"]));
    let held = rig.keeper.wait(&id("planner")).await.unwrap();
    let east: TrustDomain = "east".parse().unwrap();
    let (old, new) = (rig.authority.ca.lock().unwrap().der.clone(), Arc::new(Ca::new()));
    let bundle = |roots: &[&Vec<u8>]| -> Arc<Bundles> {
        Arc::new([(east.clone(), roots.iter().copied().cloned().collect())].into())
    };
    // Both are believed, and the old one signs: nothing is asked for.
    rig.keeper.set_bundles(bundle(&[&old, &new.der]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.asked().len(), 1);
    *rig.authority.ca.lock().unwrap() = Arc::clone(&new);
    rig.keeper.set_bundles(bundle(&[&new.der, &old]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.asked().len(), 2, "once");
    assert_ne!(rig.keeper.current(&id("planner")).unwrap().own().serial, held.own().serial);
    rig.keeper.set_bundles(bundle(&[&new.der]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.asked().len(), 2);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_needs_no_authority() {
    let directory = tempfile::tempdir().unwrap();
    let store = || Some(Store::new(&directory.path().join("proxy")));
    let clock = Clock(Instant::now());
    let ca = Arc::new(Ca::new());
    let rig = Rig::with(8, store(), clock, Arc::clone(&ca));
    rig.keeper.set_wanted(&wanted(&["a", "b"]));
    let a = rig.keeper.wait(&id("a")).await.unwrap();
    rig.keeper.wait(&id("b")).await.unwrap();
    while store().unwrap().read().identities.len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.stop().await;

    let rig = Rig::with(8, store(), clock, Arc::clone(&ca));
    rig.mood(Mood::Silent);
    rig.keeper.set_wanted(&wanted(&["a"]));
    let found = rig.keeper.current(&id("a")).unwrap();
    assert_eq!(found.own().serial, a.own().serial);
    assert_eq!(found.bundles(), a.bundles());
    assert_eq!(rig.asked(), []);
    rig.stop().await;

    // After its end it is not used, nor when its root is not believed any more.
    let rig = Rig::with(8, store(), Clock(clock.0.checked_sub(24 * HOUR).unwrap()), Arc::clone(&ca));
    rig.mood(Mood::Silent);
    rig.keeper.set_wanted(&wanted(&["a"]));
    assert_eq!(rig.keeper.current(&id("a")).unwrap_err(), CredentialError::Pending(id("a")));
    rig.stop().await;
    let rig = Rig::with(8, store(), clock, ca);
    rig.mood(Mood::Silent);
    rig.keeper.set_bundles(Arc::new([("east".parse().unwrap(), vec![Ca::new().der])].into()));
    rig.keeper.set_wanted(&wanted(&["a"]));
    assert_eq!(rig.keeper.current(&id("a")).unwrap_err(), CredentialError::Pending(id("a")));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_is_told_that_it_missed_some() {
    let rig = Rig::new(8, None);
    let mut changes = rig.keeper.changes();
    for _ in 0..=CHANGES_WAITING_MAX {
        rig.keeper.set_wanted(&wanted(&["a"]));
        rig.keeper.set_wanted(&BTreeSet::new());
    }
    assert_eq!(changes.next().await, Some(Change::Missed));
    rig.stop().await;
}
