//! A lead's whole way to the outside: posted over a socket, a record in a CRM over HTTP, a mail through a real server.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::fake_http::{Act, FakeHttp};
use crate::support::sink::Sink;
use crate::support::{PATIENCE, Server, Workspace, sample, wire};

/// The flow; `to` is where its mail goes.
fn flow(to: &str) -> String {
    format!(
        r#"
name: outward
trigger:
  type: request
  schema: marketplace-lead.json
actions:
  - name: create_lead
    type: http
    connection: crm
    method: POST
    url: /api/leads
    body:
      subject: "{{{{trigger.body.OfferTitle}}}}"
      email: "{{{{trigger.body.UserDetails.Email}}}}"
      source: 8
  - name: notify
    type: send_email
    connection: mail
    run_after: {{}}
    retry: {{ policy: fixed, count: 3, interval: 1100ms }}
    to: {to}
    cc: [second@contoso.example]
    bcc: hidden@contoso.example
    reply_to: desk@contoso.example
    importance: high
    subject: "New lead: {{{{trigger.body.OfferTitle}}}} für {{{{trigger.body.UserDetails.FirstName}}}}"
    body: "Mail {{{{trigger.body.UserDetails.Email}}}}"
    html: "<p>{{{{trigger.body.UserDetails.FirstName}}}}</p>"
"#
    )
}

/// A workspace whose `crm` is `crm` and whose `mail` is `sink`, over STARTTLS with a login.
fn workspace(crm: &FakeHttp, sink: &Sink, to: &str) -> Workspace {
    let workspace = Workspace::empty();
    workspace.write("flows/outward.yaml", &flow(to));
    workspace.write(
        "leadflow.yaml",
        &format!(
            r#"
connections:
  crm: {{ type: http, base_url: "{}", auth: {{ type: bearer, token: "${{env:CRM_TOKEN}}" }} }}
  mail:
    type: smtp
    host: localhost
    port: {}
    security: starttls
    ca: ["{}"]
    from: "Leads <leads@contoso.example>"
    auth: {{ type: basic, username: lead, password: "${{env:MAIL_PASSWORD}}" }}
"#,
            crm.url(),
            sink.port,
            sink.certificate().display()
        ),
    );
    workspace
}

fn serve(workspace: &Workspace) -> Server {
    let mut command = workspace.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("CRM_TOKEN", "crm-token").env("MAIL_PASSWORD", "secret");
    Server::start(command)
}

/// Runs with the secrets set: the settings name them.
fn runs(workspace: &Workspace) -> Vec<Value> {
    let output = workspace
        .command(&["runs", "list", "--json"])
        .env("CRM_TOKEN", "crm-token")
        .env("MAIL_PASSWORD", "secret")
        .output()
        .expect("the binary runs");
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON").as_array().expect("a list").clone()
}

fn until_succeeded(workspace: &Workspace) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let runs = runs(workspace);
        if runs.iter().any(|run| run["status"] == "succeeded") {
            return workspace.show("last");
        }
        assert!(Instant::now() < deadline, "{runs:#?}\n{:#}", workspace.show("last"));
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The lines of a mail's head, folded ones joined.
fn head(mail: &str) -> Vec<String> {
    let (head, _) = mail.split_once("\r\n\r\n").expect("a body");
    head.replace("\r\n ", " ").lines().map(str::to_owned).collect()
}

fn header<'a>(head: &'a [String], name: &str) -> Vec<&'a str> {
    head.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

fn action<'a>(run: &'a Value, name: &str) -> &'a Value {
    let actions = run["actions"].as_array().expect("actions");
    actions.iter().find(|action| action["name"] == name).expect("the action")
}

#[test]
fn a_posted_lead_becomes_a_record_over_http_and_a_mail_over_starttls() {
    for start in Sink::MAKES {
        let (crm, sink) = (FakeHttp::willing(), start("starttls"));
        let workspace = workspace(&crm, &sink, "sales@contoso.example");
        let server = serve(&workspace);
        let answer = wire::post(server.url("outward"), &sample()).expect("an answer");
        assert_eq!(answer.status, 202);
        let run = until_succeeded(&workspace);
        assert_eq!(run["run_id"], answer.json()["run_id"]);

        let requests = crm.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("authorization"), Some("Bearer crm-token"));
        assert!(requests[0].header("idempotency-key").is_some());
        let lead = serde_json::json!({"subject": "Test Microsoft", "email": "someone@contoso.com", "source": 8});
        assert_eq!(requests[0].json(), lead);

        let mails = sink.mails();
        assert_eq!(mails.len(), 1);
        let head = head(&mails[0]);
        let id = action(&run, "notify")["outputs"]["message_id"].as_str().expect("an id");
        for (name, value) in [
            ("X-Envelope-Tls", "True"),
            ("X-Envelope-Auth", "lead"),
            ("X-Envelope-From", "leads@contoso.example"),
            ("X-Envelope-To", "sales@contoso.example,second@contoso.example,hidden@contoso.example"),
            ("From", "Leads <leads@contoso.example>"),
            ("To", "sales@contoso.example"),
            ("Cc", "second@contoso.example"),
            ("Reply-To", "desk@contoso.example"),
            ("Importance", "high"),
            ("MIME-Version", "1.0"),
            ("Message-ID", id),
        ] {
            assert_eq!(header(&head, name), [value], "{name} in {head:#?}");
        }
        assert_eq!(
            (header(&head, "Bcc").len(), header(&head, "Subject").len(), header(&head, "Date").len()),
            (0, 1, 1)
        );
        assert!(header(&head, "Subject")[0].contains("New lead: Test Microsoft"), "{head:#?}");
        assert!(header(&head, "Content-Type")[0].starts_with("multipart/alternative"), "{head:#?}");
        assert!(mails[0].contains("Mail someone@contoso.com") && mails[0].contains("<p>Some</p>"), "{}", mails[0]);
    }
}

#[test]
fn a_mail_server_that_is_busy_gets_the_same_mail_again() {
    for start in Sink::MAKES {
        let (crm, sink) = (FakeHttp::start(|_, _| Act::Answer(201, "{}")), start("starttls"));
        let workspace = workspace(&crm, &sink, "busy-once@contoso.example");
        let server = serve(&workspace);
        assert_eq!(wire::post(server.url("outward"), &sample()).expect("an answer").status, 202);
        let run = until_succeeded(&workspace);
        let (refused, taken) = (sink.refused(), sink.mails());
        assert_eq!((refused.len(), taken.len()), (1, 1));
        let ids: Vec<String> = [&refused[0], &taken[0]].map(|mail| header(&head(mail), "Message-ID").concat()).to_vec();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(refused[0], taken[0], "both tries send the same bytes");
        let notify = action(&run, "notify");
        assert_eq!(notify["outputs"]["message_id"], ids[0]);
        assert_eq!(notify["attempts"], 2, "{notify:#}");
        assert_eq!(notify["possible_repeat"], false, "a refused mail was not sent: {notify:#}");
        assert_eq!(crm.requests().len(), 1, "the record beside it is not repeated");
    }
}
