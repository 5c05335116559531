//! Reads a certificate signing request and checks that its sender has the key.
//!
//! Of a request only the key and the identity it may name are used; what it asks beyond that is refused where it
//! would mean something (an authority, other names) and has no effect where it would not (key usages, subject).

use mesh::{Identity, identity::IdentityError};
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY},
    prelude::FromDer as _,
    x509::X509Version,
};

/// Longest request that is read, in bytes of PEM. One for a longest identity has about 4 KiB.
pub const CSR_BYTES_MAX: usize = 16 * 1024;

/// The AlgorithmIdentifier of ECDSA with SHA-256 (RFC 5758, section 3.2: no parameters).
const ECDSA_WITH_SHA256_DER: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// A request that was read and whose key was proven.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// The identity that it names, if any.
    pub identity: Option<Identity>,
    /// The key to certify.
    pub public_key: PublicKey,
}

/// An ECDSA P-256 key.
#[derive(Debug, Clone)]
pub struct PublicKey(SubjectPublicKeyInfo);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Longer than any honest one.
    #[error("a signing request has at most {CSR_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Not exactly one PEM section of this kind.
    #[error("it is not one PEM certificate request")]
    Pem,
    /// Not one whole PKCS #10 request.
    #[error("it is not a PKCS #10 request")]
    Malformed,
    /// Another kind of key or signature.
    #[error("only ECDSA P-256 with SHA-256 is signed")]
    Algorithm,
    /// The signature is not by the key.
    #[error("its sender does not have its key")]
    NotPossessed,
    /// It asks for something that is not given.
    #[error("{0} is not given")]
    Unwanted(&'static str),
    /// Its URI is no identity.
    #[error("its URI is no identity")]
    Identity(#[from] IdentityError),
}

/// Reads a request as PEM.
///
/// # Errors
/// When it is anything but a well-formed request with a proven P-256 key and at most one name, an identity.
pub fn parse_pem(pem: &str) -> Result<SigningRequest, CsrError> {
    if pem.len() > CSR_BYTES_MAX {
        return Err(CsrError::TooLong(pem.len()));
    }
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes());
    match (sections.next(), sections.next()) {
        (Some(Ok((SectionKind::Csr, der))), None) => parse_der(&der),
        _ => Err(CsrError::Pem),
    }
}

/// Reads a request as DER.
///
/// # Errors
/// As [`parse_pem`].
pub fn parse_der(der: &[u8]) -> Result<SigningRequest, CsrError> {
    if der.len() > CSR_BYTES_MAX {
        return Err(CsrError::TooLong(der.len()));
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
        return Err(CsrError::Malformed);
    };
    let info = &request.certification_request_info;
    if info.version != X509Version::V1 {
        return Err(CsrError::Malformed);
    }
    let key = &info.subject_pki.algorithm;
    let curve = key.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    if key.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY
        || curve != Some(OID_EC_P256)
        || !der.ends_with(&signature_field(&request.signature_value.data))
    {
        return Err(CsrError::Algorithm);
    }
    request.verify_signature().map_err(|_| CsrError::NotPossessed)?;
    let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| CsrError::Algorithm)?;
    Ok(SigningRequest { identity: requested_identity(&request)?, public_key: PublicKey(public_key) })
}

/// The only encoding of algorithm and signature that is taken: the parser is more lenient, and no signature covers
/// them.
fn signature_field(signature: &[u8]) -> Vec<u8> {
    let mut field = ECDSA_WITH_SHA256_DER.to_vec();
    // A signature of 128 bytes or more is none of this algorithm, so its length takes one byte.
    field.extend([3, u8::try_from(signature.len() + 1).unwrap_or(u8::MAX), 0]);
    field.extend(signature);
    field
}

fn requested_identity(request: &X509CertificationRequest<'_>) -> Result<Option<Identity>, CsrError> {
    let extensions = match request.certification_request_info.attributes() {
        [] => return Ok(None),
        [only] => match only.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => &requested.extensions,
            _ => return Err(CsrError::Unwanted("an attribute other than an extension request")),
        },
        _ => return Err(CsrError::Unwanted("more than one attribute")),
    };
    let mut identity = None;
    for (at, extension) in extensions.iter().enumerate() {
        if extensions[..at].iter().any(|earlier| earlier.oid == extension.oid) {
            return Err(CsrError::Unwanted("an extension twice"));
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => match names.general_names.as_slice() {
                [GeneralName::URI(uri)] => identity = Some(uri.parse()?),
                _ => return Err(CsrError::Unwanted("any name but exactly one URI")),
            },
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                return Err(CsrError::Unwanted("an authority of its own"));
            }
            // The certificate says what it says, whatever is asked here.
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            _ => return Err(CsrError::Unwanted("an extension other than names and key usages")),
        }
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
    };

    use super::*;

    const PLANNER: &str = "spiffe://east.example/ns/shop/sa/planner";

    fn uri(text: &str) -> SanType {
        SanType::URI(text.to_owned().try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.to_owned().try_into().unwrap())
    }

    fn request(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut CertificateParams), expected: Result<Option<&str>, CsrError>) {
        let read =
            parse_der(&request(change)).map(|request| request.identity.map(|identity| identity.to_string()));
        assert_eq!(read, expected.map(|identity| identity.map(str::to_owned)));
    }

    #[test]
    fn one_identity_or_none_is_read() {
        check(|params| params.subject_alt_names = vec![uri(PLANNER)], Ok(Some(PLANNER)));
        check(|_| {}, Ok(None));
        check(
            |params| {
                params.subject_alt_names = vec![uri(PLANNER)];
                params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.is_ca = IsCa::ExplicitNoCa;
            },
            Ok(Some(PLANNER)),
        );
    }

    #[test]
    fn other_names_are_refused() {
        let refused = || Err(CsrError::Unwanted("any name but exactly one URI"));
        check(
            |params| params.subject_alt_names = vec![uri(PLANNER), uri("spiffe://east.example/b")],
            refused(),
        );
        check(|params| params.subject_alt_names = vec![uri(PLANNER), uri(PLANNER)], refused());
        check(|params| params.subject_alt_names = vec![uri(PLANNER), dns("tools.shop")], refused());
        check(|params| params.subject_alt_names = vec![dns("tools.shop")], refused());
        for no_identity in ["https://east.example/a", "spiffe://east.example", "spiffe://East.example/a"] {
            let der = request(|params| params.subject_alt_names = vec![uri(no_identity)]);
            assert!(matches!(parse_der(&der), Err(CsrError::Identity(_))), "{no_identity}");
        }
    }

    #[test]
    fn authority_and_unknown_extensions_are_refused() {
        check(
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Err(CsrError::Unwanted("an authority of its own")),
        );
        let unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        check(
            |params| params.custom_extensions = vec![unknown],
            Err(CsrError::Unwanted("an extension other than names and key usages")),
        );
        // A second subjectAltName beside the first one.
        let second =
            CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 5, 0x86, 3, b'a', b':', b'b']);
        check(
            |params| {
                params.subject_alt_names = vec![uri(PLANNER)];
                params.custom_extensions = vec![second];
            },
            Err(CsrError::Unwanted("an extension twice")),
        );
    }

    #[test]
    fn only_p256_is_signed() {
        for (algorithm, good) in
            [(&PKCS_ECDSA_P256_SHA256, true), (&PKCS_ECDSA_P384_SHA384, false), (&PKCS_ED25519, false)]
        {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let der = CertificateParams::default().serialize_request(&key).unwrap();
            let read = parse_der(der.der());
            assert_eq!(read.is_ok(), good, "{algorithm:?}");
            assert!(good || matches!(read, Err(CsrError::Algorithm)));
        }
    }

    #[test]
    fn damage_at_any_byte_is_refused() {
        let whole = request(|params| params.subject_alt_names = vec![uri(PLANNER)]);
        assert!(parse_der(&whole).is_ok());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(parse_der(&damaged).is_err(), "byte {at}");
            assert!(parse_der(&whole[..at]).is_err(), "cut at {at}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(matches!(parse_der(&longer), Err(CsrError::Malformed)));
    }

    #[test]
    fn the_key_of_another_is_not_proven() {
        // The request of one key with the other's signature: swap the last bytes of two requests of equal length.
        let (mut one, two) = loop {
            let (one, two) = (request(|_| {}), request(|_| {}));
            if one.len() == two.len() {
                break (one, two);
            }
        };
        let signature = one.len() - 64;
        one[signature..].copy_from_slice(&two[signature..]);
        assert!(matches!(parse_der(&one), Err(CsrError::NotPossessed | CsrError::Malformed)));
    }

    #[test]
    fn pem_is_one_section() {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert!(parse_pem(&pem).is_ok());
        for bad in [
            "",
            "hello",
            &format!("{pem}{pem}"),
            &format!("{pem}{}", key.serialize_pem()),
            &pem[..pem.len() / 2],
        ] {
            assert!(matches!(parse_pem(bad), Err(CsrError::Pem)), "{bad}");
        }
        let padded = format!("{pem}{}", "\n".repeat(CSR_BYTES_MAX - pem.len()));
        assert!(parse_pem(&padded).is_ok());
        assert!(matches!(parse_pem(&format!("{padded}\n")), Err(CsrError::TooLong(_))));
    }
}
