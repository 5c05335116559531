//! Why a credential is not valid.

/// Why a credential is not valid. What the client is told of it is in [`crate::Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The texts say it.
pub enum Invalid {
    #[error("there is more than one credential")]
    Several,
    #[error("the credential is not of the scheme Bearer")]
    NoBearer,
    #[error("the credential is too long")]
    TooLong,
    #[error("the credential can be read in no way, or in more than one")]
    NoToken,
    #[error("its algorithm is none that is taken")]
    Algorithm,
    #[error("it demands an extension that is not understood")]
    Critical,
    #[error("it is a token of another sort")]
    Sort,
    #[error("no issuer that is taken here issued it")]
    Issuer,
    #[error("it is for somebody else")]
    Audience,
    #[error("it has ended, or never says when it ends")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it names nobody")]
    Subject,
    #[error("its claims are not of the form that they must have")]
    Claims,
    #[error("the keys of its issuer cannot be had")]
    NoKeys,
    #[error("no key of its issuer signed it")]
    Signature,
    #[error("the key is not known")]
    UnknownKey,
    #[error("its issuer is not held, or broken")]
    NoIssuer,
}
