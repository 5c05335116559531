//! The token with which a program proves itself to the authority.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Where the token comes from. Asked for each request, so that a token that was replaced is used at once.
pub trait Tokens: Send + Sync + 'static {
    /// The token now.
    ///
    /// # Errors
    /// When there is none.
    fn token(&self) -> Result<String, TokenError>;
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token in {path}")]
    Reading {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The file is empty, too long, or not one line of visible characters.
    #[error("{0} does not hold a token: one line of at most {TOKEN_BYTES_MAX} visible characters")]
    NoToken(PathBuf),
}

/// A token in a file.
#[derive(Debug, Clone)]
pub struct TokenFile(pub PathBuf);

impl Tokens for TokenFile {
    fn token(&self) -> Result<String, TokenError> {
        let reading = |cause| TokenError::Reading { path: self.0.clone(), cause };
        let mut text = Vec::new();
        let file = File::open(&self.0).map_err(reading)?;
        file.take(TOKEN_BYTES_MAX + 2).read_to_end(&mut text).map_err(reading)?;
        let token = text.trim_ascii();
        let visible = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        match String::from_utf8(token.to_vec()) {
            Ok(token) if visible && token.len() as u64 <= TOKEN_BYTES_MAX => Ok(token),
            _ => Err(TokenError::NoToken(self.0.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_is_read_at_each_call() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile(directory.path().join("token"));
        assert!(matches!(file.token(), Err(TokenError::Reading { .. })));
        for token in ["first", "second.with-parts_"] {
            fs::write(&file.0, format!("{token}\n")).unwrap();
            assert_eq!(file.token().unwrap(), token);
        }
        let longest = "t".repeat(TOKEN_BYTES_MAX as usize);
        fs::write(&file.0, &longest).unwrap();
        assert!(file.token().is_ok());
        for bad in ["", "\n", "two words", "two\nlines", "nul\0", "ünicode", &format!("{longest}t")] {
            fs::write(&file.0, bad).unwrap();
            assert!(matches!(file.token(), Err(TokenError::NoToken(_))), "{bad:.20}");
        }
    }
}
