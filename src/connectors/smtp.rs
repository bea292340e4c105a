//! Mail by SMTP. What the outbox and later mail connectors share with it stands here too.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Connector, Dialect, OpContext, Opened, Operation, Outcome, Progress, Reach, Talk, declared, not_served, spec_once,
    unexpected,
};
use crate::flow::catalogue::{ConnectorSpec, OperationKind, Repeat};
use crate::outbound::auth::TokenSettings;
use crate::outbound::mail::{self, Login, Security, SmtpTransport};
use crate::outbound::{Effect, EmailMessage, Reply, Transport};
use crate::run::Failure;
use crate::secret::Secret;

/// Mail by SMTP.
#[derive(Debug, Clone, Copy)]
pub struct Smtp;

/// A connection of type `smtp`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The mail server's host name.
    host: String,
    /// Its port. Default: 587 for `starttls`, 465 for `tls`, 25 for `none`.
    #[serde(default)]
    port: Option<u16>,
    /// `starttls` (default): encryption is required after a plain start. `tls`: encrypted from the first byte.
    /// `none`: never encrypted, for a server on the same machine.
    #[serde(default)]
    security: Security,
    /// The sender of mails that name none: `Leads <leads@contoso.com>`. Default: the user name, if it is an address.
    #[serde(default)]
    #[schemars(extend("x-unit" = "mailbox"))]
    from: Option<String>,
    /// How to log in.
    #[serde(default)]
    auth: Auth,
}

/// How to log in to a mail server.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token instead of a password, as Microsoft 365 and Google want it.
    Xoauth2 {
        /// The mailbox that sends.
        username: String,
        /// Where the token comes from.
        token: TokenSettings,
    },
}

impl Connector for Smtp {
    fn spec(&self) -> &ConnectorSpec {
        spec_once!(ConnectorSpec {
            kind: "smtp".into(),
            summary: "a mail server".into(),
            settings: declared::<Settings>(),
            // The Message-ID is the same for every repeat, but a server delivers both: only the reader's programme may
            // recognise the second one.
            operations: vec![(OperationKind::Email, Repeat::Unsafe)],
        })
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        let settings: Settings = super::read(settings)?;
        let login = match settings.auth {
            Auth::None => None,
            Auth::Basic { username, password } => Some(Login::Password { username, password }),
            Auth::Xoauth2 { username, token } => {
                let client = reach.http.clone().with_ca(&reach.ca);
                Some(Login::Token { username, tokens: reach.http.tokens.source(token, &client)? })
            }
        };
        let from = match (&settings.from, &login) {
            (Some(from), _) => mail::address(from).ok_or("`from` is not a mail address")?,
            (None, Some(login)) => mail::address(login.username()).unwrap_or_default(),
            (None, None) => String::new(),
        };
        let (ca, port) = (reach.authorities(), settings.port);
        let transport = SmtpTransport::new(&settings.host, port, settings.security, &from, login, &ca)?;
        Ok(Opened { dialect: Arc::new(*self), transport: Transport::Smtp(Arc::new(transport)) })
    }
}

impl Dialect for Smtp {
    fn start(&self, operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
        message(operation, cx)
    }

    fn on_reply(&self, _: &Operation, cx: &OpContext<'_>, _: &mut Talk, reply: Reply) -> Progress {
        sent(reply, cx.possible_repeat)
    }

    fn simulate(&self, _: &Operation, cx: &OpContext<'_>, _: &Talk, _: &Effect) -> Reply {
        simulated(cx)
    }

    fn login(&self) -> Option<Effect> {
        Some(Effect::LogIn)
    }
}

/// The Message-ID of this operation's mail, without angle brackets: the same for every try.
fn message_id(cx: &OpContext<'_>) -> String {
    format!("{}@leadflow", cx.key.hex())
}

/// The mail of `operation`: the same bytes for every try, because id and date come from the run.
pub(super) fn message(operation: &Operation, cx: &OpContext<'_>) -> Result<Effect, Failure> {
    let Operation::SendEmail(mail) = operation else { return Err(not_served(cx.connection)) };
    Ok(Effect::Email(Box::new(EmailMessage {
        from: mail.from.clone(),
        to: mail.to.clone(),
        cc: mail.cc.clone(),
        bcc: mail.bcc.clone(),
        reply_to: mail.reply_to.clone(),
        subject: mail.subject.clone(),
        text: mail.text.clone(),
        html: mail.html.clone(),
        importance: mail.importance.clone(),
        attachments: mail.attachments.clone(),
        message_id: message_id(cx),
        date: cx.received_at,
    })))
}

/// The outcome of a mail that was taken.
pub(super) fn sent(reply: Reply, possible_repeat: bool) -> Progress {
    match reply {
        Reply::Email { message_id, .. } => Progress::Done(Ok(Outcome {
            outputs: json!({ "message_id": format!("<{message_id}>") }),
            outcome: None,
            possible_repeat,
            writes: Vec::new(),
        })),
        Reply::Failed(failure) => Progress::Done(Err(failure)),
        _ => unexpected(),
    }
}

/// What a dry run takes for the answer.
pub(super) fn simulated(cx: &OpContext<'_>) -> Reply {
    Reply::Email { message_id: message_id(cx), detail: "not sent: dry run".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::{SendEmail, context_for_tests, talk_for_tests};

    fn mail() -> Operation {
        Operation::SendEmail(SendEmail {
            from: None,
            to: vec!["a@b.example".into()],
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: Vec::new(),
            subject: "x".into(),
            text: Some("y".into()),
            html: None,
            importance: None,
            attachments: Vec::new(),
        })
    }

    #[test]
    fn a_repeat_carries_the_same_message_id_and_is_flagged() {
        let cx = context_for_tests("mail");
        let first = Smtp.start(&mail(), &cx).expect("starts");
        let again = OpContext { possible_repeat: true, ..cx };
        assert_eq!(Ok(&first), Smtp.start(&mail(), &again).as_ref());
        let Progress::Done(Ok(outcome)) = Smtp.on_reply(&mail(), &again, &mut talk_for_tests(), simulated(&again))
        else {
            panic!("done")
        };
        assert!(outcome.possible_repeat);
        assert_eq!(outcome.outputs["message_id"], format!("<{}@leadflow>", cx.key.hex()));
    }

    #[test]
    fn settings_are_closed_and_errors_do_not_repeat_them() {
        let read = super::super::read::<Settings>;
        let good =
            json!({"host": "h", "from": "a@b.example", "auth": {"type": "basic", "username": "u", "password": "p"}});
        let settings = read(&good).expect("reads");
        assert_eq!(settings.security, Security::Starttls);
        assert!(!format!("{settings:?}").contains("\"p\""));
        let bad = json!({"host": "h", "from": "a@b.example", "port": "hunter2"});
        let error = read(&bad).expect_err("no port");
        assert!(error.contains("port") && !error.contains("hunter2"), "{error}");
        assert!(read(&json!({"host": "h", "from": "a@b.example", "x": 1})).is_err());
    }
}
