//! Tokens from a real token service, for HTTP and for mail: fetched once for all, replaced in time, kept over restarts.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use leadflow::connectors::{Reach, Registry};
use leadflow::outbound::{Call, Effect, Effects as _, EmailMessage, HttpBody, HttpRequest, Real, Reply, Transport};
use leadflow::run::{Class, Failure};
use serde_json::{Value, json};

use crate::support::oidc::Oidc;
use crate::support::sink::Sink;
use crate::support::{Server, Workspace, project, sample, until, wire};

/// Long enough to never matter on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// What the tests' tokens live, and a while that outlives them.
const LIFE_SECS: u32 = 3;
const PAST_LIFE: Duration = Duration::from_secs(4);

/// A life that no test outlives.
const LONG_LIFE_SECS: u32 = 3600;

fn client_credentials(oidc: &Oidc, secret: &str) -> Value {
    json!({"type": "oauth2_client_credentials", "token_url": format!("{}/token", oidc.url), "client_id": "lead-engine",
        "client_secret": secret, "scope": "api:write"})
}

fn open(kind: &str, settings: &Value, reach: &Reach) -> Arc<Transport> {
    let connector = Registry::builtin().find(kind).expect("the connector");
    Arc::new(connector.open(settings, reach).expect("settings").transport)
}

/// A connection of type `http` to the service's API.
fn api(oidc: &Oidc, auth: &Value) -> Arc<Transport> {
    open("http", &json!({"base_url": oidc.url, "auth": auth}), &Reach::new("unused"))
}

/// One try of one effect, as the engine makes it.
async fn perform(transport: &Transport, effect: Effect) -> Reply {
    let call = Call {
        action: "act",
        secure: false,
        idx: "",
        connection: "con",
        transport,
        effect: &effect,
        timeout: LONG,
        simulated: Reply::Record,
    };
    Real.perform(call).await
}

/// Posts a lead; the status of the answer.
async fn post(transport: &Transport) -> Result<u16, Failure> {
    let request = HttpRequest {
        method: "POST".into(),
        url: "api".into(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Some(HttpBody::Json(json!({"name": "Jane"}))),
        url_from_value: false,
    };
    match perform(transport, Effect::Http(request)).await {
        Reply::Http(reply) => Ok(reply.status),
        Reply::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// Twenty leads at once, every one taken.
async fn twenty(transport: &Arc<Transport>) {
    let posts: Vec<_> = (0..20)
        .map(|_| {
            let transport = Arc::clone(transport);
            tokio::spawn(async move { post(&transport).await })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.expect("no panic"), Ok(201));
    }
}

#[tokio::test]
async fn a_token_that_ends_while_twenty_wait_is_fetched_once() {
    let oidc = Oidc::start(LIFE_SECS);
    let api = api(&oidc, &client_credentials(&oidc, "s3cret"));
    twenty(&api).await;
    assert_eq!(oidc.counts(), (1, 20));
    tokio::time::sleep(PAST_LIFE).await;
    twenty(&api).await;
    assert_eq!(oidc.counts(), (2, 40));
}

#[tokio::test]
async fn tokens_that_were_revoked_are_replaced_once_for_all() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let api = api(&oidc, &client_credentials(&oidc, "s3cret"));
    twenty(&api).await;
    oidc.tell("revoke");
    twenty(&api).await;
    assert_eq!(oidc.counts(), (2, 40), "each lead is taken once");
}

#[tokio::test]
async fn a_service_that_is_down_is_tried_again_and_a_wrong_secret_is_not() {
    let oidc = Oidc::start(LIFE_SECS);
    let good = api(&oidc, &client_credentials(&oidc, "s3cret"));
    oidc.tell("down");
    let failure = post(&good).await.expect_err("no token");
    assert_eq!((failure.code.as_str(), failure.class), ("token_unavailable", Class::Retryable));
    oidc.tell("up");
    assert_eq!(post(&good).await, Ok(201));
    let bad = api(&oidc, &client_credentials(&oidc, "hunter2"));
    let failure = post(&bad).await.expect_err("refused");
    assert_eq!((failure.code.as_str(), failure.class), ("token_refused", Class::Credentials));
    assert!(failure.message.contains("invalid_client") && !failure.message.contains("hunter2"), "{failure}");
    // The page of the service that is no token endpoint.
    let mut elsewhere = client_credentials(&oidc, "s3cret");
    elsewhere["token_url"] = format!("{}/nowhere", oidc.url).into();
    let failure = post(&api(&oidc, &elsewhere)).await.expect_err("no token");
    assert_eq!(failure.class, Class::Credentials, "{failure}");
    assert_eq!(oidc.counts().1, 1);
}

#[tokio::test]
async fn an_application_may_show_itself_in_the_header() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let mut auth = client_credentials(&oidc, "s3cret");
    assert_eq!((post(&api(&oidc, &auth)).await, oidc.by_header()), (Ok(201), 0));
    auth["client_auth"] = "basic".into();
    assert_eq!((post(&api(&oidc, &auth)).await, oidc.by_header()), (Ok(201), 1));
}

fn mail() -> Effect {
    Effect::Email(Box::new(EmailMessage {
        from: None,
        to: vec!["to@contoso.example".into()],
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: "New lead".into(),
        text: Some("Hello".into()),
        html: None,
        importance: None,
        attachments: Vec::new(),
        message_id: "k@leadflow".into(),
        date: 1_700_000_000_000_000,
    }))
}

#[tokio::test]
async fn a_mail_server_takes_a_token_and_a_stale_one_is_replaced() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let sink = Sink::with_tokens(&format!("{}/valid", oidc.url));
    let connect = |username: &str, secret: &str| {
        let mut reach = Reach::new("unused");
        reach.ca = vec![fs::read(sink.certificate()).expect("the certificate")];
        let auth = json!({"type": "xoauth2", "username": username, "token": client_credentials(&oidc, secret)});
        open("smtp", &json!({"host": "localhost", "port": sink.port, "auth": auth}), &reach)
    };
    let good = connect("lead@contoso.example", "s3cret");
    assert!(matches!(perform(&good, mail()).await, Reply::Email { .. }));
    oidc.tell("revoke");
    assert!(matches!(perform(&good, mail()).await, Reply::Email { .. }));
    assert_eq!((sink.mails().len(), oidc.counts().0), (2, 2));
    assert!(sink.mails()[0].contains("X-Envelope-Auth: lead@contoso.example\r\n"), "{}", sink.mails()[0]);
    assert!(sink.mails()[0].contains("From: lead@contoso.example\r\n"), "the mailbox sends");

    let failed = |reply: Reply| match reply {
        Reply::Failed(failure) => (failure.code, failure.class),
        other => panic!("{other:?}"),
    };
    let other = connect("other@contoso.example", "s3cret");
    assert_eq!(failed(perform(&other, mail()).await), ("smtp_535".to_owned(), Class::Credentials));
    assert_eq!(oidc.counts().0, 4, "a second token was tried, no third");
    let wrong = connect("lead@contoso.example", "hunter2");
    assert_eq!(failed(perform(&wrong, mail()).await), ("token_refused".to_owned(), Class::Credentials));
    assert_eq!(sink.mails().len(), 2);
}

/// A workspace whose `crm` wants tokens; `auth` is the block, on one line.
fn workspace(oidc: &Oidc, auth: &str, pause: &str) -> Workspace {
    let workspace = Workspace::empty();
    let url = &oidc.url;
    workspace.write(
        "leadflow.yaml",
        &format!("connections:\n  crm:\n    type: http\n    base_url: {url}\n    auth: {{ {auth}, token_url: {url}/token, client_id: lead-engine, client_secret: \"${{env:CRM_SECRET}}\" }}\n"),
    );
    let send = |name: &str| {
        format!(
            "  - {{ name: {name}, type: http, connection: crm, method: POST, url: api, body: {{ n: 1 }}, retry: {{ policy: fixed, count: 20, interval: 1s }} }}\n"
        )
    };
    workspace.write(
        "flows/twice.yaml",
        &format!(
            "name: twice\ntrigger: {{ type: request }}\nactions:\n{}  - {{ name: pause, type: delay, for: {pause} }}\n{}",
            send("first"),
            send("second")
        ),
    );
    workspace
}

fn serve(workspace: &Workspace, refresh_token: &str) -> Server {
    let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("CRM_SECRET", "s3cret").env("CRM_REFRESH", refresh_token);
    Server::start(command)
}

#[test]
fn twenty_runs_survive_the_end_of_their_token_and_an_endpoint_that_is_down() {
    let oidc = Oidc::start(LIFE_SECS);
    let workspace = workspace(&oidc, "type: oauth2_client_credentials, scope: 'api:write'", "4s");
    let server = serve(&workspace, "unused");
    for _ in 0..20 {
        assert_eq!(wire::post(server.url("twice"), &sample()).expect("an answer").status, 202);
    }
    until("every first action is done", || oidc.counts().1 == 20);
    oidc.tell("down");
    until("somebody asks in vain", || {
        let (asked, _) = oidc.counts();
        asked >= 3
    });
    oidc.tell("up");
    until("every second action is done", || oidc.counts().1 >= 40);
    let runs = until_ended(&workspace, "unused");
    assert_eq!((runs.len(), oidc.counts().1), (20, 40), "each action is done once");
    assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
    drop(server);
}

fn until_ended(workspace: &Workspace, refresh_token: &str) -> Vec<Value> {
    let mut runs = Vec::new();
    until("the runs end", || {
        let mut command = workspace.command(&["runs", "list", "--json"]);
        let output = command.env("CRM_SECRET", "s3cret").env("CRM_REFRESH", refresh_token).output().expect("it runs");
        let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        runs.clone_from(listed.as_array().expect("a list"));
        runs.iter().all(|run| !run["finished_at"].is_null())
    });
    runs
}

#[test]
fn a_rotated_refresh_token_is_kept_over_a_kill() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let refresh_token = oidc.tell("refresh");
    let workspace = workspace(&oidc, "type: oauth2_refresh_token, refresh_token: '${env:CRM_REFRESH}'", "1ms");
    for lives in 1..=3 {
        let server = serve(&workspace, &refresh_token);
        assert_eq!(wire::post(server.url("twice"), &sample()).expect("an answer").status, 202);
        let runs = until_ended(&workspace, &refresh_token);
        assert!(runs.iter().all(|run| run["status"] == "succeeded"), "{runs:#?}");
        assert_eq!(oidc.counts(), (lives, 2 * lives));
        server.kill();
    }
}

#[test]
fn a_reload_that_leaves_auth_as_it_is_keeps_the_token() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let workspace = workspace(&oidc, "type: oauth2_client_credentials, scope: 'api:write'", "1ms");
    let server = serve(&workspace, "unused");
    let send = |taken| {
        assert_eq!(wire::post(server.url("twice"), &sample()).expect("an answer").status, 202);
        until("both actions are done", || oidc.counts().1 == taken);
    };
    send(2);
    let settings = fs::read_to_string(workspace.path().join("leadflow.yaml")).expect("settings");
    workspace.write("leadflow.yaml", &settings.replace("    type: http\n", "    type: http\n    concurrency: 3\n"));
    assert_eq!(server.reload(), (true, Vec::new()));
    send(4);
    assert_eq!(oidc.counts(), (1, 4));
}

#[test]
fn a_dry_run_asks_for_no_token_and_nothing_shows_a_secret() {
    let oidc = Oidc::start(LONG_LIFE_SECS);
    let workspace = workspace(&oidc, "type: oauth2_client_credentials", "1ms");
    for secret in [Some("hunter2"), None] {
        let mut shown = String::new();
        for arguments in
            [vec!["dry-run", "twice", "--lead", "examples/lead.json", "--json"], vec!["settings"], vec!["check"]]
        {
            let mut command = workspace.command(&arguments);
            if let Some(secret) = secret {
                command.env("CRM_SECRET", secret);
            }
            let output = command.output().expect("it runs");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            shown.push_str(&String::from_utf8_lossy(&output.stdout));
            shown.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        assert!(shown.contains("\"Authorization\": \"***\"") && !shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(oidc.counts(), (0, 0));
}

/// Each `leadflow.yaml` of the page about credentials is fine as it stands, and a server would start with it.
#[test]
fn the_page_about_credentials_holds_settings_that_work() {
    let page = fs::read_to_string(project().join("docs/credentials.md")).expect("the page");
    let blocks: Vec<&str> = page
        .split("```yaml title=\"leadflow.yaml\"\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("it is closed").0)
        .collect();
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for block in blocks {
        let workspace = Workspace::empty();
        workspace.write("leadflow.yaml", block);
        let connection = block.lines().nth(1).expect("a connection").trim().trim_end_matches(':');
        let action = if block.contains("type: smtp") {
            "type: send_email, to: sales@contoso.com, subject: New, body: Lead"
        } else {
            "type: http, method: POST, url: leads, body: { n: 1 }"
        };
        workspace.write(
            "flows/one.yaml",
            &format!("name: one\ntrigger: {{ type: request }}\nactions:\n  - {{ name: send, connection: {connection}, {action} }}\n"),
        );
        let found = workspace.json(&["check", "--format", "json"]).to_string();
        assert!(!found.contains("\"error\"") && !found.contains("\"warning\""), "{block}\n{found}");
        workspace.expect(0, &["dry-run", "one", "--lead", "examples/lead.json"]);
    }
}
