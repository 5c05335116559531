//! Tests of the service as a caller sees it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, Ordering},
};

use mesh::names::NodeName;
use prost_types::{Struct, Value};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::Code;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::*;

const PLANNER: &str = "spiffe://east/ns/shop/sa/planner";
const WAYPOINT: &str = "spiffe://east/ns/shop/sa/waypoint";

struct Tokens;

impl Callers for Tokens {
    async fn identify(&self, token: &str) -> Result<Bearer, CallerError> {
        match token {
            "node-a" => Ok(Bearer::Node("a".into())),
            "waypoint" => Ok(Bearer::Workload(WAYPOINT.parse().unwrap())),
            "silent" => Err(CallerError::Unavailable("no answer".to_owned())),
            "slow" => std::future::pending().await,
            _ => Err(CallerError::Rejected("nobody's".to_owned())),
        }
    }
}

struct PlannerOnA;

impl Placement for PlannerOnA {
    fn runs_on(&self, node: &NodeName, identity: &Identity) -> bool {
        node.as_str() == "a" && identity.to_string() == PLANNER
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn authority(config: Config) -> Authority<Tokens, PlannerOnA> {
    let counter = AtomicU8::new(0);
    let sources = Sources {
        now: Arc::new(now),
        random: Arc::new(move || [counter.fetch_add(1, Ordering::Relaxed); 16]),
    };
    Authority::new(
        config,
        sources,
        Tokens,
        PlannerOnA,
        Roots::new(root(1), [root(2).certificate_der().to_vec()]),
    )
}

fn root(byte: u8) -> Root {
    let year = Duration::from_secs(365 * 24 * 3600);
    Root::generate(&"east".parse().unwrap(), year, now(), Serial::from_random([byte; 16])).unwrap()
}

fn request(token: &str, named: Option<&str>, in_csr: Option<&str>) -> Request<IstioCertificateRequest> {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        in_csr.map(|uri| SanType::URI(uri.to_owned().try_into().unwrap())).into_iter().collect();
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let metadata = named.map(|identity| {
        let value = Value { kind: Some(Kind::StringValue(identity.to_owned())) };
        Struct { fields: BTreeMap::from([(IMPERSONATED_IDENTITY.to_owned(), value)]) }
    });
    let mut request = Request::new(IstioCertificateRequest { csr, validity_duration: 3600, metadata });
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

async fn ask(request: Request<IstioCertificateRequest>) -> Result<Vec<String>, Code> {
    let answer = authority(Config::default()).create_certificate(request).await;
    answer.map(|answer| answer.into_inner().cert_chain).map_err(|status| status.code())
}

#[tokio::test]
async fn who_may_have_what() {
    let cases = [
        ("node-a", Some(PLANNER), None, Ok(PLANNER)),
        ("node-a", Some(PLANNER), Some(PLANNER), Ok(PLANNER)),
        ("node-a", None, Some(PLANNER), Ok(PLANNER)),
        ("node-a", None, None, Err(Code::InvalidArgument)),
        ("node-a", Some(PLANNER), Some(WAYPOINT), Err(Code::InvalidArgument)),
        ("node-a", Some("planner"), None, Err(Code::InvalidArgument)),
        ("node-a", Some(WAYPOINT), None, Err(Code::PermissionDenied)),
        ("node-a", Some("spiffe://west/ns/shop/sa/planner"), None, Err(Code::PermissionDenied)),
        ("waypoint", None, None, Ok(WAYPOINT)),
        ("waypoint", Some(WAYPOINT), None, Ok(WAYPOINT)),
        ("waypoint", Some(PLANNER), None, Err(Code::PermissionDenied)),
        ("stolen", Some(PLANNER), None, Err(Code::Unauthenticated)),
        ("", Some(PLANNER), None, Err(Code::Unauthenticated)),
        ("silent", Some(PLANNER), None, Err(Code::Unavailable)),
    ];
    for (token, named, in_csr, expected) in cases {
        let answer = ask(request(token, named, in_csr)).await;
        let found = answer.map(|chain| {
            let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
            let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
            let names = leaf.subject_alternative_name().unwrap().unwrap();
            match names.value.general_names.as_slice() {
                [x509_parser::extensions::GeneralName::URI(uri)] => (*uri).to_owned(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(found, expected.map(str::to_owned), "{token} {named:?} {in_csr:?}");
    }
}

#[tokio::test]
async fn the_chain_is_the_leaf_and_last_all_roots() {
    let authority = authority(Config::default());
    let answer =
        authority.create_certificate(request("node-a", Some(PLANNER), None)).await.unwrap().into_inner();
    let [leaf, roots] = answer.cert_chain.as_slice() else { panic!("{}", answer.cert_chain.len()) };
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let roots: Vec<_> = CertificateDer::pem_slice_iter(roots.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(roots.len(), 2);
    let (_, signing) = X509Certificate::from_der(&roots[0]).unwrap();
    let (_, other) = X509Certificate::from_der(&roots[1]).unwrap();
    assert!(leaf.verify_signature(Some(signing.public_key())).is_ok());
    assert!(leaf.verify_signature(Some(other.public_key())).is_err());
    assert_eq!(leaf.validity().not_after.timestamp(), 1_800_003_600);
}

#[tokio::test]
async fn refusals_say_nothing_outward() {
    let authority = authority(Config::default());
    for (token, expected) in
        [("stolen", "unauthenticated"), ("", "unauthenticated"), ("waypoint", "not entitled")]
    {
        let status = authority.create_certificate(request(token, Some(PLANNER), None)).await.unwrap_err();
        assert_eq!(status.message(), expected);
    }
    let metrics = runtime::Metrics::default();
    metrics.register(|registry| authority.metrics().register(registry));
    let text = metrics.encode();
    for result in ["token_rejected", "no_token", "not_own"] {
        assert!(
            text.contains(&format!("strait_certificate_requests_total{{result=\"{result}\"}} 1")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn strange_requests_are_refused() {
    let with = |change: fn(&mut IstioCertificateRequest)| {
        let mut request = request("node-a", Some(PLANNER), None);
        change(request.get_mut());
        request
    };
    let number = |request: &mut IstioCertificateRequest| {
        let value = Value { kind: Some(Kind::NumberValue(1.0)) };
        request.metadata =
            Some(Struct { fields: BTreeMap::from([(IMPERSONATED_IDENTITY.to_owned(), value)]) });
    };
    let requests = [
        with(|request| request.csr = String::new()),
        with(|request| request.csr = "x".repeat(CSR_BYTES_MAX + 1)),
        with(|request| request.validity_duration = -1),
        with(number),
    ];
    for request in requests {
        assert_eq!(ask(request).await, Err(Code::InvalidArgument));
    }
    assert!(ask(with(|request| request.validity_duration = i64::MAX)).await.is_ok());
    assert!(ask(with(|request| request.validity_duration = 0)).await.is_ok());
    let mut twice = request("node-a", Some(PLANNER), None);
    twice.metadata_mut().append("authorization", "Bearer node-a".parse().unwrap());
    assert_eq!(ask(twice).await, Err(Code::Unauthenticated));
    let mut basic = request("", Some(PLANNER), None);
    basic.metadata_mut().insert("authorization", "Basic node-a".parse().unwrap());
    assert_eq!(ask(basic).await, Err(Code::Unauthenticated));
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let limits = LimitsConfig { burst: 2, interval: Duration::from_secs(1), callers_max: 10 };
    let authority = authority(Config { limits, ..Config::default() });
    let mut codes = Vec::new();
    for _ in 0..3 {
        let answer = authority.create_certificate(request("node-a", Some(PLANNER), None)).await;
        codes.push(answer.err().map(|status| status.code()));
    }
    assert_eq!(codes, [None, None, Some(Code::ResourceExhausted)]);
    assert!(authority.create_certificate(request("waypoint", None, None)).await.is_ok());
}

#[tokio::test]
async fn more_than_the_most_at_once_are_sent_away() {
    let authority = Arc::new(authority(Config { requests_at_once_max: 1, ..Config::default() }));
    let slow = tokio::spawn({
        let authority = Arc::clone(&authority);
        async move { authority.create_certificate(request("slow", None, None)).await.map(|_| ()) }
    });
    while authority.at_once.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let status = authority.create_certificate(request("waypoint", None, None)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    slow.abort();
    let _ = slow.await;
    assert!(authority.create_certificate(request("waypoint", None, None)).await.is_ok());
}

#[tokio::test]
async fn other_roots_sign_from_when_they_are_set() {
    let authority = authority(Config::default());
    let third = root(3);
    let der = third.certificate_der().to_vec();
    authority.set_roots(Roots::new(third, [der.clone()]));
    assert_eq!(authority.roots().trusted(), std::slice::from_ref(&der));
    let answer = authority.create_certificate(request("waypoint", None, None)).await.unwrap().into_inner();
    let leaf = CertificateDer::from_pem_slice(answer.cert_chain[0].as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let (_, signing) = X509Certificate::from_der(&der).unwrap();
    assert!(leaf.verify_signature(Some(signing.public_key())).is_ok());
}

#[tokio::test]
async fn a_certificate_after_a_revocation_is_not_revoked() {
    let authority = authority(Config::default());
    authority.revoked(&WAYPOINT.parse().unwrap(), now() - Duration::from_secs(10));
    for (token, named, begins) in
        [("waypoint", None, 1_799_999_990), ("node-a", Some(PLANNER), 1_799_999_880)]
    {
        let answer = authority.create_certificate(request(token, named, None)).await.unwrap().into_inner();
        let leaf = CertificateDer::from_pem_slice(answer.cert_chain[0].as_bytes()).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        assert_eq!(leaf.validity().not_before.timestamp(), begins);
    }
}
