//! The query of an admin request, decoded: `a=b&c=d%20e`.

use std::collections::BTreeMap;

/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Most parameters of one query.
pub const PARAMETERS_MAX: usize = 64;

/// Why a query was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too long, or too many parameters.
    #[error("a query has at most {QUERY_BYTES_MAX} bytes and {PARAMETERS_MAX} parameters")]
    TooLong,
    /// A `%` is not followed by two hexadecimal digits, or the text is not UTF-8.
    #[error("{0:?} is not percent-encoded UTF-8")]
    Encoding(String),
}

/// Parameters by name, each with its values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Decodes the part of a URI after `?`.
    ///
    /// # Errors
    /// When it is too long or wrongly encoded.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(QueryError::TooLong);
        }
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (at, parameter) in text.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
            if at == PARAMETERS_MAX {
                return Err(QueryError::TooLong);
            }
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            parameters.entry(decode(name)?).or_default().push(decode(value)?);
        }
        Ok(Self(parameters))
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn decode(text: &str) -> Result<String, QueryError> {
    let wrong = || QueryError::Encoding(text.to_owned());
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(wrong());
                };
                u8::try_from(high * 16 + low).map_err(|_| wrong())?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("a=b&a=c%20d&e&f=g+h&&i=j%3Dk=l").unwrap();
        assert_eq!(query.get("a"), Some("b"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["b", "c d"]);
        assert_eq!(query.get("e"), Some(""));
        assert_eq!(query.get("f"), Some("g h"));
        assert_eq!(query.get("i"), Some("j=k=l"));
        assert_eq!(query.get("z"), None);
        assert_eq!(query.names().collect::<Vec<_>>(), ["a", "e", "f", "i"]);
    }

    #[test]
    fn wrong_encodings_are_refused() {
        for wrong in ["a=%", "a=%4", "a=%zz", "%ff=1", "a=%+1"] {
            assert!(matches!(Query::parse(wrong), Err(QueryError::Encoding(_))), "{wrong}");
        }
    }

    #[test]
    fn long_queries_are_refused() {
        assert!(Query::parse(&"a".repeat(QUERY_BYTES_MAX)).is_ok());
        assert_eq!(Query::parse(&"a".repeat(QUERY_BYTES_MAX + 1)), Err(QueryError::TooLong));
        assert!(Query::parse(&vec!["a=1"; PARAMETERS_MAX].join("&")).is_ok());
        assert_eq!(Query::parse(&vec!["a=1"; PARAMETERS_MAX + 1].join("&")), Err(QueryError::TooLong));
    }
}
