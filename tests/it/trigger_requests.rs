//! What a request may look like: methods, paths, queries, forms; and what `respond` says to a request that waits.

use serde_json::{Value, json};

use crate::support::{Server, Workspace, wire};

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];

/// Answers with what its templates see.
fn mirror(name: &str, trigger: &str) -> String {
    format!(
        "name: {name}\ntrigger:\n  type: request\n{trigger}actions:\n  - name: answer\n    type: respond\n    body:\n      \
         method: '{{{{trigger.method}}}}'\n      path: '{{{{trigger.path}}}}'\n      query: '{{{{trigger.query}}}}'\n      \
         body: '{{{{trigger.body}}}}'\n"
    )
}

fn site(flows: &[(&str, &str)]) -> (Workspace, Server) {
    let workspace = Workspace::empty();
    for (name, trigger) in flows {
        workspace.write(&format!("flows/{name}.yaml"), &mirror(name, trigger));
    }
    let server = workspace.serve();
    (workspace, server)
}

fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> wire::Answer {
    wire::send(method, url, headers, body).expect("an answer")
}

#[test]
fn every_method_that_the_trigger_names_starts_a_run_and_no_other() {
    let all = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let (workspace, server) = site(&[
        ("all", "  method: [get, PUT, POST, PATCH, DELETE, HEAD, OPTIONS]\n"),
        ("post", ""),
        ("read", "  method: GET\n  schema: { type: object, required: [a] }\n"),
    ]);
    for method in all {
        let answer = send(method, server.url("all"), &[], b"");
        assert_eq!(answer.status, 200, "{method}");
        if method == "HEAD" {
            assert!(answer.body.is_empty());
        } else {
            assert_eq!((&answer.json()["method"], &answer.json()["body"]), (&json!(method), &Value::Null));
        }
    }
    assert_eq!(workspace.until_ended().len(), all.len());
    for method in all.into_iter().filter(|method| *method != "POST") {
        let answer = send(method, server.url("post"), &[], b"");
        assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "POST"), "{method}");
    }
    // A look at the head must not make a lead.
    assert_eq!(send("HEAD", server.url("read"), &[], b"").headers["allow"], "GET");
    assert_eq!(workspace.runs().len(), all.len());
    // Without a body there is nothing that a schema could refuse, where the method has none.
    assert_eq!(send("GET", server.url("read"), &[], b"").json()["body"], Value::Null);
    assert_eq!(send("GET", server.url("read"), &[], b"{}").status, 400);
}

#[test]
fn paths_and_queries_are_values() {
    let (_workspace, server) = site(&[("orders", "  method: GET\n  path: 'customers/{id}/orders/{order}'\n")]);
    let url = server.url("orders").replace("{id}", "a%2Fb%20c").replace("{order}", "%C3%BC");
    let answer = send("GET", &format!("{url}&page=2&tag=x&tag=y+z&sv=9"), &[], b"");
    assert_eq!(answer.status, 401, "a signature's parameter that stands twice");
    let answer = send("GET", &format!("{url}&page=2&tag=x&tag=y+z"), &[], b"").json();
    assert_eq!(answer["path"], json!({"id": "a/b c", "order": "ü"}));
    assert_eq!(answer["query"], json!({"page": "2", "tag": ["x", "y z"]}), "without the signature");
    let (path, query) = server.url("orders").split_once('?').expect("a query");
    for wrong in ["customers/7/orders", "customers/7/orders/8/9", "customers//orders/8", "Customers/7/orders/8"] {
        let url = path.replace("customers/{id}/orders/{order}", wrong);
        assert_eq!(send("GET", &format!("{url}?{query}"), &[], b"").status, 404, "{wrong}");
    }
}

#[test]
fn a_form_is_an_object_of_its_fields() {
    let schema = "  schema:\n    type: object\n    required: [Email]\n    \
                  properties: { Email: { type: string, format: email }, Tag: { type: [array, string] } }\n";
    let (workspace, server) = site(&[("form", schema)]);
    let form = b"email=a%40contoso.com&Name=Ada+L%C3%B6w&tag=1&tag=2&note=";
    let answer = send("POST", server.url("form"), FORM, form);
    let wanted = json!({"Email": "a@contoso.com", "Name": "Ada Löw", "Tag": ["1", "2"], "note": ""});
    assert_eq!((answer.status, &answer.json()["body"]), (200, &wanted));
    // JSON under the same type is JSON: most programs say so when they say nothing.
    let answer = send("POST", server.url("form"), FORM, br#"{"Email": "a@b.c"}"#);
    assert_eq!(answer.json()["body"], json!({"Email": "a@b.c"}));
    for (headers, body, status, code) in [
        (FORM, &b"Email=nobody"[..], 400, "schema_mismatch"),
        (FORM, b"{\"Email\": ", 400, "invalid_json"),
        (FORM, b"Email=%ff", 400, "invalid_utf8"),
        (FORM, b"", 400, "empty_body"),
        (&[("content-type", "text/plain")], b"Email=a%40b.c", 400, "invalid_json"),
        (&[("content-type", "multipart/form-data; boundary=x")], b"--x\r\n", 415, "unsupported_media_type"),
    ] {
        let answer = send("POST", server.url("form"), headers, body);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
    }
    let runs = workspace.until_ended();
    assert_eq!(runs.len(), 2);
    // The form is kept as it came, and read again when it is repeated.
    let first = runs.last().expect("two")["run_id"].as_str().expect("text").to_owned();
    workspace.expect(0, &["runs", "resubmit", &first]);
    workspace.until_ended();
    let again = workspace.show("last");
    assert_eq!(again["answer"]["body"]["body"], wanted);
    // A refused one too, once the schema is mended.
    workspace.write("flows/form.yaml", &mirror("form", &schema.replace(", format: email", "")));
    let rejected = workspace.json(&["runs", "rejected", "list", "--json"]);
    let first = rejected.as_array().expect("a list").last().expect("six")["id"].as_str().expect("text").to_owned();
    workspace.expect(0, &["runs", "rejected", "resubmit", &first]);
    workspace.until_ended();
    assert_eq!(workspace.show("last")["answer"]["body"]["body"], json!({"Email": "nobody"}));
}

#[test]
fn respond_says_status_headers_and_body_once() {
    let workspace = Workspace::empty();
    workspace.write(
        "flows/teapot.yaml",
        "name: teapot\ntrigger: { type: request }\nactions:\n  - name: answer\n    type: respond\n    status: '{{trigger.body.status}}'\n    \
         headers: { content-type: text/csv, x-a: '{{trigger.body.a}}', set-cookie: a=b, location: /x, allow: GET, connection: close }\n    \
         body: '{{trigger.body.text}}'\n  - { name: again, type: respond, status: 500, run_after: {} }\n",
    );
    let server = workspace.serve();
    let body = json!({"status": 418, "a": "1\r\nset-cookie: c=d", "text": "a;b"});
    let answer = wire::post(server.url("teapot"), &body.to_string()).expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (418, &b"a;b"[..]));
    assert_eq!((answer.headers["content-type"].as_str(), answer.headers["location"].as_str()), ("text/csv", "/x"));
    assert_eq!(answer.headers["x-a"], "1 set-cookie: c=d");
    assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("allow"));
    workspace.until_ended();
    let run = workspace.show("last");
    let second = &run["actions"][1];
    assert_eq!((&second["status"], &second["error"]["code"]), (&json!("failed"), &json!("already_answered")));
    assert_eq!(run["answer"]["status"], 418);
}

/// What is odd about a lead and keeps nothing from running is told with its run.
#[test]
fn a_collision_of_keys_is_noted_on_the_run() {
    let schema = "  schema: { type: object, properties: { Email: { type: string } } }\n";
    let (workspace, server) = site(&[("form", schema)]);
    let answer = wire::post(server.url("form"), r#"{"Email": "a", "email": "b"}"#).expect("an answer");
    assert_eq!(answer.json()["body"], json!({"Email": "a", "email": "b"}));
    let run = workspace.show("last");
    assert_eq!(run["trigger"]["notes"][0]["pointer"], "/email", "{run:#}");
    let shown = workspace.expect(0, &["runs", "show", "last"]);
    assert!(shown.contains("note: /email differs only in case"), "{shown}");
}
