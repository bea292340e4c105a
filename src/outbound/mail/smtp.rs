//! The SMTP dialogue, step by step: only so is it known what may have been delivered when something breaks.
//!
//! A mail may have been taken once its text is on the way; before that a failure is certain to have delivered nothing.
//! Each mail has a connection of its own: a server that closed an idle one never costs a mail.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Auth, Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::super::auth::{Ticket, TokenSource};
use super::super::{EmailMessage, Reply, causes, certificates, is_authority_as_server, tls_failure};
use super::Envelope;
use crate::run::{Class, Failure};
use crate::secret::Secret;

/// For the connection to stand; the server's greeting comes after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the server to say goodbye after it took the mail.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of a server's words that a failure repeats.
const WORDS_CHARS_MAX: usize = 200;

/// The server's reply to an AUTH that it wants to go on with.
const CHALLENGE: u16 = 334;

/// When a connection is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// After a plain start, always: without encryption nothing is sent.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
    /// Never.
    None,
}

impl Security {
    /// The port that servers listen on for it.
    fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum Login {
    /// With a password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// With a token (SASL XOAUTH2).
    Token {
        /// The user name.
        username: String,
        /// Where tokens come from.
        tokens: Arc<TokenSource>,
    },
}

impl Login {
    /// The user name.
    pub fn username(&self) -> &str {
        match self {
            Self::Password { username, .. } | Self::Token { username, .. } => username,
        }
    }
}

/// A connection's way to SMTP.
pub struct SmtpTransport {
    host: String,
    port: u16,
    security: Security,
    from: String,
    login: Option<Login>,
    /// What `ca` names.
    certificates: Vec<CertificateDer<'static>>,
    /// Built when first used: it reads the system's certificate authorities.
    tls: OnceLock<TlsParameters>,
}

/// Why no connection stands.
enum Refused {
    /// The server shows an authority's certificate as its own: it may be one that `ca` names.
    SelfSigned(Failure),
    Failed(Failure),
}

impl fmt::Debug for SmtpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpTransport").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl SmtpTransport {
    /// A way to `host`; `port: None` is the usual one for `security`; `ca` are PEM texts of further authorities.
    /// The error says which setting is wrong.
    pub fn new(
        host: &str,
        port: Option<u16>,
        security: Security,
        from: &str,
        login: Option<Login>,
        ca: &[Vec<u8>],
    ) -> Result<Self, String> {
        if host.trim().is_empty() {
            return Err("`host` is empty".into());
        }
        Ok(Self {
            host: host.trim().to_owned(),
            port: port.unwrap_or(security.port()),
            security,
            from: from.to_owned(),
            login,
            certificates: certificates(ca)?,
            tls: OnceLock::new(),
        })
    }

    /// Who sends mails that name nobody.
    pub fn default_from(&self) -> &str {
        &self.from
    }

    /// Sends one mail within `timeout` as a whole.
    pub async fn send(&self, message: &EmailMessage, timeout: Duration) -> Reply {
        let (envelope, raw) = match super::build(message, &self.from) {
            Ok(built) => built,
            Err(failure) => return Reply::Failed(failure),
        };
        let on_the_way = AtomicBool::new(false);
        let dialogue = tokio::time::timeout(timeout, self.dialogue(&envelope, &raw, &on_the_way)).await;
        let (mut connection, response) = match dialogue {
            Ok(Ok(taken)) => taken,
            Ok(Err(failure)) => return Reply::Failed(failure),
            Err(_) => return Reply::Failed(self.too_late(on_the_way.load(Ordering::Relaxed))),
        };
        // The mail is taken whatever the server answers to the goodbye.
        let _goodbye = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
        Reply::Email {
            message_id: message.message_id.clone(),
            detail: words(&response.message().collect::<Vec<_>>().join(" ")),
        }
    }

    /// Connects, logs in and says goodbye, within `timeout` as a whole. No mail is begun.
    pub async fn try_login(&self, timeout: Duration) -> Reply {
        match tokio::time::timeout(timeout, self.connect_and_log_in()).await {
            Ok(Ok(mut connection)) => {
                let _goodbye = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
                Reply::LoggedIn
            }
            Ok(Err(failure)) => Reply::Failed(failure),
            Err(_) => Reply::Failed(self.too_late(false)),
        }
    }

    async fn dialogue(
        &self,
        envelope: &Envelope,
        raw: &[u8],
        on_the_way: &AtomicBool,
    ) -> Result<(AsyncSmtpConnection, Response), Failure> {
        let mut connection = self.connect_and_log_in().await?;
        let options = mail_options(&connection, envelope, raw)?;
        let refused = |error: &SmtpError| self.judge(error);
        connection.command(Mail::new(envelope.from().cloned(), options)).await.map_err(|error| refused(&error))?;
        for (n, recipient) in envelope.to().iter().enumerate() {
            connection.command(Rcpt::new(recipient.clone(), Vec::new())).await.map_err(|error| {
                let mut failure = self.judge(&error);
                failure.message = format!("recipient {} of {}: {}", n + 1, envelope.to().len(), failure.message);
                failure
            })?;
        }
        connection.command(Data).await.map_err(|error| refused(&error))?;
        on_the_way.store(true, Ordering::Relaxed);
        match connection.message(raw).await {
            Ok(response) => Ok((connection, response)),
            Err(error) if error.status().is_some() => Err(self.judge(&error)),
            Err(_) => Err(Failure::unknown(
                "unknown_outcome",
                format!("{} broke off after the mail was handed over; it may have been delivered", self.host),
            )),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        match self.open(self.tls()?).await {
            Ok(connection) => Ok(connection),
            Err(Refused::Failed(failure)) => Err(failure),
            Err(Refused::SelfSigned(failure)) => self.open_pinned(failure).await,
        }
    }

    /// A certificate that signed itself as an authority does (what `openssl req -x509` makes) is refused as a server's
    /// by the TLS library, though `ca` names it. So another connection takes any certificate, and is kept only if the
    /// server proved to own exactly one that `ca` names. Nothing but the greeting was said by then.
    async fn open_pinned(&self, refused: Failure) -> Result<AsyncSmtpConnection, Failure> {
        let any = TlsParameters::builder(self.host.clone()).dangerous_accept_invalid_certs(true).build_rustls();
        let any = any.map_err(|_| refused.clone())?;
        let connection = match self.open(&any).await {
            Ok(connection) => connection,
            Err(Refused::Failed(failure) | Refused::SelfSigned(failure)) => return Err(failure),
        };
        let shown = connection.peer_certificate().map_err(|_| refused.clone())?;
        if self.certificates.iter().any(|own| own.as_ref() == shown) { Ok(connection) } else { Err(refused) }
    }

    async fn open(&self, tls: &TlsParameters) -> Result<AsyncSmtpConnection, Refused> {
        let hello = ClientId::default();
        let first = (self.security == Security::Tls).then(|| tls.clone());
        let server = (self.host.as_str(), self.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_TIMEOUT), &hello, first, None)
            .await
            .map_err(|error| self.refused(&error))?;
        if self.security == Security::Starttls {
            if !connection.can_starttls() {
                let message = format!(
                    "{} offers no STARTTLS: port 465 wants `security: tls`, a server without encryption `security: none`",
                    self.host
                );
                return Err(Refused::Failed(Failure::terminal("smtp_tls", message)));
            }
            connection.starttls(tls.clone(), &hello).await.map_err(|error| self.refused(&error))?;
        }
        Ok(connection)
    }

    fn refused(&self, error: &SmtpError) -> Refused {
        let failure = self.judge(error);
        let fault = causes(error).into_iter().find_map(|cause| cause.downcast_ref::<rustls::Error>());
        if !self.certificates.is_empty() && fault.is_some_and(is_authority_as_server) {
            Refused::SelfSigned(failure)
        } else {
            Refused::Failed(failure)
        }
    }

    /// A token that the server refuses is replaced, and shown once more on a connection of its own.
    async fn connect_and_log_in(&self) -> Result<AsyncSmtpConnection, Failure> {
        let (username, tokens) = match &self.login {
            None => return self.connect().await,
            Some(Login::Password { username, password }) => {
                let mut connection = self.connect().await?;
                self.show_password(&mut connection, username, password).await?;
                return Ok(connection);
            }
            Some(Login::Token { username, tokens }) => (username, tokens),
        };
        let ticket = tokens.token().await?;
        let mut connection = self.connect().await?;
        match self.show_token(&mut connection, username, &ticket).await {
            Ok(()) => return Ok(connection),
            Err(failure) if failure.class == Class::Credentials => tokens.refused(ticket.generation),
            Err(failure) => return Err(failure),
        }
        drop(connection);
        let ticket = tokens.token().await?;
        let mut connection = self.connect().await?;
        self.show_token(&mut connection, username, &ticket).await?;
        Ok(connection)
    }

    async fn show_password(
        &self,
        connection: &mut AsyncSmtpConnection,
        username: &str,
        password: &Secret,
    ) -> Result<(), Failure> {
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if !mechanisms.iter().any(|mechanism| takes(connection, *mechanism)) {
            let message = format!("{} takes no password (no AUTH PLAIN or LOGIN) on this connection", self.host);
            return Err(Failure::terminal("smtp_auth", message));
        }
        let credentials = Credentials::new(username.to_owned(), password.expose().to_owned());
        connection.auth(&mechanisms, &credentials).await.map_err(|error| self.judge(&error))?;
        Ok(())
    }

    /// A server says why it refuses a token in a challenge (334), which is answered with nothing; then comes its refusal.
    async fn show_token(
        &self,
        connection: &mut AsyncSmtpConnection,
        username: &str,
        ticket: &Ticket,
    ) -> Result<(), Failure> {
        if !takes(connection, Mechanism::Xoauth2) {
            let message = format!("{} takes no tokens (no AUTH XOAUTH2) on this connection", self.host);
            return Err(Failure::terminal("smtp_auth", message));
        }
        let credentials = Credentials::new(username.to_owned(), ticket.token.expose().to_owned());
        let auth = Auth::new(Mechanism::Xoauth2, credentials, None).map_err(|error| self.judge(&error))?;
        let response = connection.command(auth).await.map_err(|error| self.judge(&error))?;
        if !response.has_code(CHALLENGE) {
            return Ok(());
        }
        match connection.command("\r\n").await {
            Err(error) => Err(self.judge(&error)),
            Ok(_) => Err(refusal(535, "the token is not accepted")),
        }
    }

    fn tls(&self) -> Result<&TlsParameters, Failure> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let mut builder = TlsParameters::builder(self.host.clone());
        let unusable = |_| Failure::retryable("tls_failed", "the certificate authorities cannot be loaded");
        for certificate in &self.certificates {
            builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(unusable)?);
        }
        let built = builder.build_rustls().map_err(unusable)?;
        Ok(self.tls.get_or_init(|| built))
    }

    fn too_late(&self, on_the_way: bool) -> Failure {
        if on_the_way {
            return Failure {
                code: "timeout".into(),
                message: format!(
                    "no answer of {} in time after the mail was handed over; it may have been delivered",
                    self.host
                ),
                class: Class::TimedOut,
                retry_after: None,
                action: None,
            };
        }
        Failure::retryable("smtp_timeout", format!("no answer of {} in time{}", self.host, self.hint()))
    }

    /// A server that speaks TLS from the first byte waits for ours and says nothing.
    fn hint(&self) -> &'static str {
        if self.security == Security::Tls { "" } else { "; a server on port 465 wants `security: tls`" }
    }

    /// What an error before the text was on the way means: nothing was delivered.
    fn judge(&self, error: &SmtpError) -> Failure {
        let chain = causes(error);
        if let Some(status) = error.status() {
            let said = chain.get(1).map(ToString::to_string).unwrap_or_default();
            return refusal(u16::from(status), &said);
        }
        if let Some(fault) = chain.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            if matches!(fault, rustls::Error::InvalidMessage(_)) {
                let message = format!(
                    "{} does not speak TLS from the first byte: port 587 wants `security: starttls`, 465 `security: tls`",
                    self.host
                );
                return Failure::terminal("smtp_tls", message);
            }
            return tls_failure(fault, &self.host);
        }
        if error.is_response() {
            let message = format!("{} does not answer as a mail server does{}", self.host, self.hint());
            return Failure::retryable("smtp_protocol", message);
        }
        let message =
            format!("{} port {} cannot be reached, or closed the connection{}", self.host, self.port, self.hint());
        Failure::retryable("connect_failed", message)
    }
}

/// Whether the server offers this way to log in.
fn takes(connection: &AsyncSmtpConnection, mechanism: Mechanism) -> bool {
    connection.server_info().supports_feature(Extension::Authentication(mechanism))
}

/// What MAIL FROM must announce; a server that cannot do it would garble the mail.
fn mail_options(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    raw: &[u8],
) -> Result<Vec<MailParameter>, Failure> {
    let server = connection.server_info();
    let mut options = Vec::new();
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    if !addresses.all(|address| AsRef::<str>::as_ref(address).is_ascii()) {
        if !server.supports_feature(Extension::SmtpUtfEight) {
            let message = "an address is not ASCII, and the mail server takes no such addresses (SMTPUTF8)";
            return Err(Failure::terminal("smtp_utf8", message));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !raw.is_ascii() {
        if !server.supports_feature(Extension::EightBitMime) {
            let message = "the mail is not ASCII, and the mail server takes no such mails (8BITMIME)";
            return Err(Failure::terminal("smtp_utf8", message));
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(options)
}

/// A negative answer: 4xx may work later, 530, 534 and 535 refuse the login, other 5xx never will. Known cases get their
/// fix.
pub(super) fn refusal(status: u16, said: &str) -> Failure {
    let said = words(said);
    if status == 535 && said.contains("5.7.139") {
        return Failure::credentials(
            "smtp_auth_disabled",
            "smtp 535 5.7.139: Microsoft 365 refuses passwords: use OAuth2 (`type: xoauth2`) for this connection, or \
             another mail server",
        );
    }
    let code = format!("smtp_{status}");
    let message = format!("smtp {status} {said}");
    let message = message.trim_end();
    match status {
        400..=499 => Failure::retryable(code, message),
        530 | 534 | 535 => Failure::credentials(code, format!("{message}; check `auth` of the connection")),
        _ => Failure::terminal(code, message),
    }
}

/// A server's words on one line, cut, with every address taken out: servers like to repeat recipients.
fn words(said: &str) -> String {
    let is_separator = |character: char| character.is_whitespace() || character.is_control();
    let tokens = said.split(is_separator).filter(|token| !token.is_empty());
    let clean: Vec<&str> = tokens.map(|token| if token.contains('@') { "(address)" } else { token }).collect();
    clean.join(" ").chars().take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
