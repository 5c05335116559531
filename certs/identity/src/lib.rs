//! Fetches the certificates of workloads, keeps them fresh, hands out credentials.
//!
//! *Flow*: the program says which identities it wants; `schedule` decides when each is asked for, `keeper` asks an
//! [`Issuer`] with a request that `request` makes, `answer` checks what comes back, `store` keeps it across restarts.
//!
//! *Guarantees*: a key is made where it is used and goes nowhere else. The last good certificate serves as long as
//! it is valid; after its end there is none, with a reason, and whoever holds it is told.

mod anchors;
mod answer;
mod fetch;
mod keeper;
mod report;
mod request;
mod schedule;
mod store;
mod token;

pub use anchors::Anchors;
pub use answer::{ANSWER_BYTES_MAX, AnswerError, CERTIFICATES_MAX};
pub use fetch::{CertificateClient, FetchError, Issuer};
pub use keeper::{Change, Changes, Config, IDENTITIES_MAX, Keeper, KeeperMetrics, Sources, What};
pub use report::{Held, Row};
pub use request::{CertificateRequest, RequestError};
pub use schedule::{Config as ScheduleConfig, Validity};
pub use store::Store;
pub use token::{TOKEN_BYTES_MAX, TokenError, TokenFile, Tokens};
