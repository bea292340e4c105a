//! The running server, for commands beside it: found by its lock file, asked on its admin listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Place, Severity, codes};
use crate::outbound::http::{HttpClientSettings, HttpTransport};
use crate::outbound::{HttpReply, HttpRequest, Reply};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::store::sqlite::lock::DataLock;

/// For an answer: longer than a reload waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer: the list of ten thousand flows fits many times.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A running server.
pub(super) struct Server {
    admin: SocketAddr,
    token: Option<Secret>,
}

impl Server {
    /// The server that runs on the data folder of these settings.
    pub(super) fn find(settings: &Settings) -> Option<Self> {
        let admin = DataLock::read(&settings.data)?.get("admin")?.as_str()?.parse().ok()?;
        Some(Self { admin: reachable(admin), token: settings.admin_token.clone() })
    }

    /// Its answer to `method` on `path`: status and JSON. 401 and 403 are errors that say what to do.
    pub(super) fn ask(&self, method: &str, path: &str, query: &[(&str, &str)]) -> anyhow::Result<(u16, Value)> {
        let reply = super::context::block_on(self.send(method, path, query))??;
        match reply.status {
            401 => bail!(
                "the server at {} wants the admin.token of its leadflow.yaml: here it is another, or its variable is not set",
                self.admin
            ),
            403 => bail!("the server at {} refuses: {}", self.admin, detail(&reply.body)),
            status => Ok((status, reply.body)),
        }
    }

    async fn send(&self, method: &str, path: &str, query: &[(&str, &str)]) -> anyhow::Result<HttpReply> {
        let client = HttpClientSettings { response_bytes_max: ANSWER_BYTES_MAX, ..HttpClientSettings::default() };
        let transport = HttpTransport::anonymous(&client).map_err(anyhow::Error::msg)?;
        let token = self.token.as_ref().map(|token| ("authorization".to_owned(), format!("Bearer {}", token.expose())));
        let request = HttpRequest {
            method: method.to_owned(),
            url: format!("http://{}{path}", self.admin),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            headers: token.into_iter().collect(),
            body: None,
            url_from_value: false,
        };
        match transport.send(&request, ANSWER_TIMEOUT).await {
            Reply::Http(reply) => Ok(reply),
            Reply::Failed(failure) => bail!("the server at {} does not answer: {}", self.admin, failure.message),
            _ => bail!("the server's answer is no HTTP"),
        }
    }
}

fn detail(body: &Value) -> &str {
    body.get("detail").and_then(Value::as_str).unwrap_or("the log has the reason")
}

/// A server that listens on every address is reached on loopback.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}

/// The findings of an answer. A code that this version does not know (the server is a newer one) is left out.
pub(super) fn findings(list: &Value) -> Vec<Diagnostic> {
    list.as_array().into_iter().flatten().filter_map(finding).collect()
}

fn finding(value: &Value) -> Option<Diagnostic> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let number = |key: &str| value.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let severity = match text("severity")? {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => Severity::Note,
    };
    let place = Place { file: text("file")?.to_owned(), line: number("line")?, column: number("column")?, length: 1 };
    let code = codes::find(text("code")?)?.code;
    let help = text("help").map(str::to_owned);
    let (path, message) = (text("path").unwrap_or_default(), text("message")?);
    Some(Diagnostic { help, ..Diagnostic::new(code, place, path, message).severity(severity) })
}

/// The texts of the files in which `findings` are, as they are on disk now.
pub(super) fn texts(findings: &[Diagnostic]) -> Vec<(String, Arc<str>)> {
    let mut files: Vec<&str> = findings.iter().map(|finding| &*finding.place.file).collect();
    files.sort_unstable();
    files.dedup();
    let read = |file: &str| Some((file.to_owned(), Arc::from(std::fs::read_to_string(file).ok()?)));
    files.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::view;

    #[test]
    fn a_server_on_every_address_is_reached_on_loopback() {
        for (listens, reached) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            let address = listens.parse().expect("address");
            assert_eq!(reachable(address).to_string(), reached);
        }
    }

    #[test]
    fn findings_come_back_as_they_went() {
        let place = Place { file: "flows/a.yaml".into(), line: 3, column: 7, length: 1 };
        let sent = vec![
            Diagnostic::new("unknown_key", place.clone(), "actions[0]", "no").help("yes"),
            Diagnostic::new("needs_restart", place, "data", "later"),
        ];
        let json: Value = sent.iter().map(view::finding_json).collect();
        assert_eq!(findings(&json), sent);
        assert!(findings(&serde_json::json!([{"code": "of_the_future"}, 1])).is_empty());
    }
}
