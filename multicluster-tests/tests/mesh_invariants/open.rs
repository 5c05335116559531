//! Connections and answers that stay open, and what becomes of them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use multicluster_tests::mesh::Client;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// How long an echo may take.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);

/// Says a word to an echo and waits for it. False when the connection is gone.
pub(crate) async fn echoes(stream: &mut TcpStream, word: &str) -> bool {
    let exchange = async {
        stream.write_all(word.as_bytes()).await?;
        let mut back = vec![0; word.len()];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, word.as_bytes());
        std::io::Result::Ok(())
    };
    matches!(tokio::time::timeout(ECHO_TIMEOUT, exchange).await, Ok(Ok(())))
}

/// An answer that is read as it comes.
pub(crate) struct Endless {
    seen: Arc<Mutex<(usize, Option<String>)>>,
    reading: JoinHandle<()>,
}

impl Endless {
    /// Asks for a URL whose answer does not end.
    pub(crate) async fn begin(client: &Client, url: &str) -> anyhow::Result<Self> {
        let response = client.stream(Request::get(url).body(Bytes::new())?).await?;
        anyhow::ensure!(response.status().is_success(), "{url}: {}", response.status());
        let seen: Arc<Mutex<(usize, Option<String>)>> = Arc::default();
        let reading = tokio::spawn({
            let seen = Arc::clone(&seen);
            let mut body = response.into_body();
            async move {
                let end = loop {
                    match body.frame().await {
                        Some(Ok(_)) => seen.lock().0 += 1,
                        Some(Err(cause)) => break cause.to_string(),
                        None => break "end".to_owned(),
                    }
                };
                seen.lock().1 = Some(end);
            }
        });
        Ok(Self { seen, reading })
    }

    /// How many pieces came.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().0
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<String> {
        self.seen.lock().1.clone()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
