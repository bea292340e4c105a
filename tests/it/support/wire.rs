//! HTTP/1.1 by hand: what the tests send is exactly what they say.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// `http://host:port/rest` in its two parts.
pub(crate) fn split(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").expect("plain http");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.parse().expect("an address"), format!("/{path}"))
}

/// Posts JSON.
pub(crate) fn post(url: &str, body: &str) -> io::Result<Answer> {
    send("POST", url, &[("content-type", "application/json")], body.as_bytes())
}

/// Sends a request and reads its answer.
pub(crate) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let (address, path) = split(url);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    raw(address, &[head.as_bytes(), body].concat())
}

/// Sends bytes as they are and reads one answer.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(150)))?;
    // A server that answers early (413) may close before everything is written; its answer is still there to read.
    let written = stream.write_all(bytes);
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    // The answer to HEAD tells the length of a body that it does not have.
    let parsed = if bytes.starts_with(b"HEAD ") { head(&received) } else { parse(&received) };
    match parsed {
        Some(answer) => Ok(answer),
        None => Err(read.err().or(written.err()).unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The answer in `bytes`, complete or not at all.
pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
    let answer = head(bytes)?;
    let length: Option<usize> = answer.headers.get("content-length").and_then(|length| length.parse().ok());
    length.is_none_or(|length| answer.body.len() >= length).then_some(answer)
}

/// The answer in `bytes`, with as much of its body as there is.
fn head(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: bytes[end + 4..].to_vec() })
}
