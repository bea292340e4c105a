//! Files in, findings and settings out.

use std::path::Path;
use std::time::Duration;

use super::load::{LoadOptions, Loaded, Mode, load_with};
use super::print::{self, MASK};
use crate::flow::retry::{RetryKind, RetryPolicy};

/// Loads `files` (name, text) of a fresh folder, the first one as `--config`.
fn load(
    files: &[(&str, &str)],
    env: Option<&str>,
    mode: Mode,
    variables: &[(&str, &str)],
) -> (Loaded, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("write");
    }
    let config = files.first().map(|(name, _)| folder.path().join(name));
    let options = LoadOptions { config, env: env.map(str::to_owned), ..LoadOptions::default() };
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    (load_with(&options, mode, &variable, &[]).expect("files that can be read"), folder)
}

fn one(text: &str) -> (Loaded, tempfile::TempDir) {
    load(&[("leadflow.yaml", text)], None, Mode::Check, &[])
}

/// Findings as `severity[code] line:column message`.
fn told(loaded: &Loaded) -> Vec<String> {
    let line = |finding: &crate::diagnostic::Diagnostic| {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let place = &finding.place;
        format!("{severity}[{}] {}:{} {}", finding.code, place.line, place.column, finding.message)
    };
    loaded.findings.iter().map(line).collect()
}

/// Asserts that the finding with `code` stands at `place` and says `words`.
#[track_caller]
fn expect(text: &str, code: &str, place: &str, words: &str) {
    let (loaded, _folder) = one(text);
    let told = told(&loaded);
    let found = told.iter().any(|line| line.contains(&format!("[{code}] {place} ")) && line.contains(words));
    assert!(found, "no {code} at {place} with {words:?} in {told:#?}");
    assert_eq!(told.len(), 1, "one slip, one finding: {told:#?}");
}

#[test]
fn nothing_is_required() {
    let (loaded, folder) = one("");
    assert_eq!(told(&loaded), Vec::<String>::new());
    let settings = loaded.settings.expect("settings");
    assert_eq!(settings.data, folder.path().join("leadflow-data"));
    assert_eq!(settings.public_listen, "127.0.0.1:8080".parse().expect("address"));
    assert_eq!(settings.base_url(), "http://127.0.0.1:8080");
    let kinds: Vec<_> = settings.connections.iter().map(|(name, own)| (name.as_str(), own.kind.as_str())).collect();
    assert_eq!(kinds, [("crm", "records"), ("mail", "outbox")]);
    assert_eq!(settings.defaults, crate::flow::Defaults::default());
    assert_eq!(settings.limits.body, crate::triggers::request::BodyLimits::default());
    assert_eq!(settings.shutdown_grace, Duration::from_secs(25));
    assert_eq!((settings.log_format.as_str(), settings.log_level.as_str()), ("auto", "info"));
}

#[test]
fn each_slip_gives_one_finding_with_its_place_and_fix() {
    expect("publik_url: https://a.example\n", "unknown_key", "1:1", "did you mean `public_url`?");
    expect("public:\n  listn: 127.0.0.1:1\n", "unknown_key", "2:3", "did you mean `listen`?");
    expect("public:\n  listen: localhost:8080\n", "bad_listen", "2:11", "not an IP address and a port");
    expect("public_url: leads.contoso.com\n", "invalid_value", "1:13", "");
    expect("shutdown_grace: 25 sekunden\n", "bad_duration", "1:17", "");
    expect("shutdown_grace: 25\n", "bad_duration", "1:17", "must be a text such as 25s");
    expect("public: { listen: 8080 }\n", "bad_listen", "1:19", "127.0.0.1:8080");
    expect("connections:\n  erp: { type: http, base_url: erp.x }\n", "invalid_value", "2:32", "not a URL");
    expect("connections:\n  m: { type: smtp, host: h, from: nope }\n", "invalid_value", "2:35", "not a mail address");
    expect("connections:\n  m: { type: smtp, hsot: h }\n", "unknown_key", "2:20", "did you mean `host`?");
    expect("parameters: { x: 1, y: ${env:PY}}\n", "yaml_syntax", "1:24", "needs quotes");
    expect("limits: { body: much }\n", "bad_size", "1:17", "");
    expect("limits: { workers: 0 }\n", "invalid_value", "1:20", "at least 1");
    expect("limits: { workers: many }\n", "wrong_type", "1:20", "a whole number");
    expect("log:\n  level: verbose\n", "invalid_value", "2:10", "cannot be `verbose`");
    expect("defaults:\n  retry: { policy: exponentiel }\n", "invalid_value", "2:20", "did you mean `exponential`?");
    expect("public:\n  trusted_proxies: [10.0.0.0/40]\n", "invalid_value", "2:21", "prefix length");
    expect("admin:\n  listen: 0.0.0.0:8081\n", "admin_token_required", "2:11", "no token");
    expect("signing_key: hunter2\n", "literal_secret", "1:14", "written out");
    expect("store: { type: postgres }\n", "missing_key", "1:1", "needs the key `url`");
    expect("store: { type: mysql }\n", "invalid_value", "1:16", "`mysql`");
    expect("store: { pool: 9 }\n", "invalid_value", "1:16", "belongs to `type: postgres`");
    expect("data: ${HOME}/x\n", "bad_reference", "1:7", "neither a variable nor a file");
    expect("connections:\n  crm: { type: recrods }\n", "unknown_connector", "2:16", "did you mean `records`?");
    expect("connections:\n  crm: { concurrency: 3 }\n", "missing_key", "2:3", "needs the key `type`");
    expect("connections:\n  crm: { type: records, colour: red }\n", "unknown_key", "2:25", "no key `colour`");
    expect("connections:\n  crm: records\n", "wrong_type", "2:8", "must be a map");
    expect("- a\n", "wrong_type", "1:1", "settings are a map");
}

#[test]
fn what_does_not_exist_yet_is_refused_not_ignored() {
    expect("telemetry: { otlp: null }\n", "not_yet", "1:1", "comes with a later version");
    expect("public:\n  tls: { certificate: a.crt, key: a.key }\n", "not_yet", "2:3", "");
    expect("connections:\n  crm: { type: records, rate: often }\n", "bad_rate", "2:31", "");
    expect("connections:\n  crm: { type: dataverse }\n", "not_yet", "2:16", "");
}

#[test]
fn all_findings_come_at_once() {
    let (loaded, _folder) = one("colour: red\nshutdown_grace: soon\nconnections:\n  crm: { type: recrods }\n");
    assert!(loaded.settings.is_none());
    let codes: Vec<&str> = loaded.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["unknown_key", "bad_duration", "unknown_connector"]);
}

#[test]
fn flows_can_be_checked_beside_faulty_settings() {
    let text = "colour: red\npublic: { listen: here }\nparameters: { a: 1 }\nconnections:\n  crm: { type: recrods }\n  \
                mail: { type: outbox, colour: red }\n";
    let (loaded, _folder) = one(text);
    assert!(loaded.settings.is_none());
    let assumed = loaded.assumed.expect("what is left");
    assert_eq!(assumed.parameters, serde_json::json!({ "a": 1 }));
    assert_eq!(assumed.public_listen.port(), 8080);
    let kinds: Vec<_> = assumed.connections.iter().map(|(name, own)| (name.as_str(), own.kind.as_str())).collect();
    assert_eq!(kinds, [("crm", "recrods"), ("mail", "outbox")]);
}

#[test]
fn an_overlay_is_laid_by_key_and_replaces_connections_whole() {
    let base = "public_url: https://a.example\npublic:\n  listen: 127.0.0.1:1000\nparameters: { a: 1, b: 2 }\n\
                connections:\n  mail: { type: outbox, concurrency: 3 }\n  crm: { type: records }\n";
    let overlay = "public:\n  trusted_proxies: [10.0.0.1]\nparameters: { b: 3 }\nconnections:\n  mail: { type: records }\n\
                   public_url: null\n";
    let files = [("leadflow.yaml", base), ("leadflow.staging.yaml", overlay)];
    let (loaded, folder) = load(&files, Some("staging"), Mode::Serve, &[]);
    assert_eq!(told(&loaded), Vec::<String>::new());
    let settings = loaded.settings.expect("settings");
    assert_eq!(settings.environment.as_deref(), Some("staging"));
    assert_eq!(settings.public_listen.port(), 1000);
    assert_eq!(settings.trusted_proxies, ["10.0.0.1"]);
    assert_eq!(settings.public_url, None, "null goes back to the default");
    assert_eq!(settings.parameters, serde_json::json!({ "a": 1, "b": 3 }));
    let mail = &settings.connections["mail"];
    assert_eq!((mail.kind.as_str(), mail.concurrency), ("records", None));
    assert!(settings.connections.contains_key("crm"));

    let rows = print::rows(&loaded.origins.expect("origins"));
    let origin = |key: &str| {
        let row = rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no {key}"));
        row.origin.replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(origin("public.listen"), "leadflow.yaml:3");
    assert_eq!(origin("public.trusted_proxies"), "leadflow.staging.yaml:2");
    assert_eq!(origin("parameters.a"), "leadflow.yaml:4");
    assert_eq!(origin("connections.mail.type"), "leadflow.staging.yaml:5");
    assert_eq!(origin("admin.listen"), "default");
}

#[test]
fn a_missing_file_is_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = folder.path().join("leadflow.yaml");
    let options = LoadOptions { config: Some(config.clone()), ..LoadOptions::default() };
    let error = load_with(&options, Mode::Check, &|_| None, &[]).expect_err("no file");
    assert!(error.to_string().contains("there is no such file"), "{error}");
    std::fs::write(&config, "").expect("write");
    let staging = LoadOptions { env: Some("staging".into()), ..options.clone() };
    let error = load_with(&staging, Mode::Check, &|_| None, &[]).expect_err("no overlay");
    assert!(error.to_string().contains("leadflow.staging.yaml"), "{error}");
    let outside = LoadOptions { env: Some("../x".into()), ..options };
    assert!(load_with(&outside, Mode::Check, &|_| None, &[]).is_err());
}

#[test]
fn the_defaults_stand_only_while_no_connection_is_named() {
    let (loaded, _folder) = one("connections:\n  crm: { type: records }\n");
    assert_eq!(loaded.settings.expect("settings").connections.len(), 1);
    let (loaded, _folder) = one("connections: {}\n");
    assert_eq!(loaded.settings.expect("settings").connections.len(), 0);
}

#[test]
fn references_are_followed_in_every_scalar() {
    let text = "data: ${env:WHERE}/data\nsigning_key: ${file:key.txt}\nlimits:\n  workers: ${env:WORKERS}\n\
                admin:\n  listen: 0.0.0.0:1\n  token: ${env:TOKEN}\nsecrets:\n  hook: \"${env:TOKEN}\"\n";
    let variables = [("WHERE", "here"), ("WORKERS", "7"), ("TOKEN", "t0p")];
    let (loaded, folder) = load(&[("leadflow.yaml", text), ("key.txt", "k3y\n")], None, Mode::Serve, &variables);
    assert_eq!(told(&loaded), Vec::<String>::new());
    let settings = loaded.settings.as_ref().expect("settings");
    assert_eq!(settings.data, folder.path().join("here/data"));
    assert_eq!(settings.signing_key.as_ref().expect("key").expose(), "k3y");
    assert_eq!(settings.limits.workers, 7);
    assert_eq!(settings.admin_token.as_ref().expect("token").expose(), "t0p");
    assert_eq!(settings.secrets["hook"].expose(), "t0p");
    assert!(!format!("{settings:?}").contains("t0p"), "secrets print as ***");

    let rows = print::rows(loaded.origins.as_ref().expect("origins"));
    let value = |key: &str| &rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no {key}")).value;
    for secret in ["signing_key", "admin.token", "secrets.hook"] {
        assert_eq!(value(secret), MASK);
    }
    assert_eq!(value("data"), "here/data");
}

#[test]
fn an_unset_variable_is_a_note_in_check_and_an_error_in_serve() {
    let text = "admin:\n  token: ${env:NO_SUCH}\nsigning_key: ${file:nowhere}\nlimits:\n  workers: ${env:NO_SUCH}\n\
                public:\n  trusted_proxies: [\"${env:NO_SUCH}\", 10.0.0.1]\nconnections:\n  mail:\n    type: smtp\n    \
                host: localhost\n    from: a@b.example\n    port: ${env:NO_SUCH}\n    auth:\n      type: basic\n      \
                username: u\n      password: ${env:NO_SUCH}\n";
    let (checked, _folder) = load(&[("leadflow.yaml", text)], None, Mode::Check, &[]);
    let notes = [
        "note[unset_variable] 2:10 the environment variable NO_SUCH is not set",
        "note[missing_file] 3:14 the file nowhere cannot be read: there is no such file",
        "note[unset_variable] 5:12 the environment variable NO_SUCH is not set",
        "note[unset_variable] 7:21 the environment variable NO_SUCH is not set",
        "note[unset_variable] 13:11 the environment variable NO_SUCH is not set",
        "note[unset_variable] 17:17 the environment variable NO_SUCH is not set",
    ];
    assert_eq!(told(&checked), notes);
    let settings = checked.settings.expect("settings");
    assert!(settings.admin_token.is_none());
    assert_eq!(settings.limits.workers, 64);
    assert_eq!(settings.trusted_proxies, ["10.0.0.1"]);
    let mail = &settings.connections["mail"].settings;
    assert!(mail.get("port").is_none() && mail["auth"]["password"].is_string(), "complete enough for a dry run");
    assert!(checked.unresolved.contains("/signing_key"));

    let (served, _folder) = load(&[("leadflow.yaml", text)], None, Mode::Serve, &[]);
    assert!(served.settings.is_none());
    let errors = served.findings.iter().filter(|finding| finding.severity == crate::diagnostic::Severity::Error);
    assert_eq!(errors.count(), 6);
}

#[test]
fn a_reference_inside_braces_is_told_to_be_quoted() {
    let (loaded, _folder) = one("admin: { token: ${env:LEADFLOW_ADMIN_TOKEN} }\n");
    assert!(loaded.settings.is_none());
    let helps: Vec<&str> = loaded.findings.iter().filter_map(|finding| finding.help.as_deref()).collect();
    assert!(helps.iter().any(|help| help.contains("\"${env:LEADFLOW_ADMIN_TOKEN}\"")), "{:?}", loaded.findings);
}

#[test]
fn a_connection_has_common_keys_and_its_own() {
    let text = "connections:\n  hook:\n    type: http\n    base_url: https://hooks.contoso.com\n    concurrency: 4\n    \
                timeout: 5s\n    retry: { policy: fixed, count: 2 }\n    ca: [ca.pem]\n    allow_private: [10.0.0.0/8]\n    \
                rate: 30/m\n    on_unknown: hold\n";
    let (loaded, folder) = one(text);
    assert_eq!(told(&loaded), Vec::<String>::new());
    let settings = loaded.settings.expect("settings");
    let hook = &settings.connections["hook"];
    assert_eq!(hook.settings, serde_json::json!({ "base_url": "https://hooks.contoso.com" }));
    assert_eq!((hook.concurrency, hook.timeout), (Some(4), Some(Duration::from_secs(5))));
    let retry = RetryPolicy { kind: RetryKind::Fixed, count: 2, ..RetryPolicy::default() };
    assert_eq!(hook.retry, Some(retry));
    assert_eq!(hook.ca, [folder.path().join("ca.pem")]);
    assert_eq!(hook.allow_private, ["10.0.0.0/8"]);
    assert_eq!(hook.rate, Some(crate::units::Rate { per_second: 0.5 }));
    assert_eq!(hook.on_unknown, Some(crate::flow::OnUnknown::Hold));
    assert_eq!(settings.sources().connections_decided, ["hook"]);
}

#[test]
fn secrets_of_a_connection_are_masked_and_flagged() {
    let text = "connections:\n  hook:\n    type: http\n    base_url: https://a.example\n    headers:\n      \
                x-api-key: abc\n      x-team: sales\n    auth: { type: bearer, token: hunter2 }\n";
    let (loaded, _folder) = one(text);
    let codes: Vec<&str> = loaded.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["literal_secret"], "{:?}", loaded.findings);
    let rows = print::rows(&loaded.origins.expect("origins"));
    let value = |key: &str| rows.iter().find(|row| row.key.ends_with(key)).map(|row| row.value.clone());
    assert_eq!(value("auth.token").as_deref(), Some(MASK));
    assert_eq!(value("x-api-key").as_deref(), Some(MASK));
    assert_eq!(value("x-team").as_deref(), Some("sales"));
    assert_eq!(value("base_url").as_deref(), Some("https://a.example"));
}

/// A connection of type `kind` whose `auth` is this block.
fn with_auth(kind: &str, auth: &str) -> String {
    let own = if kind == "smtp" { "host: h" } else { "base_url: https://a.example" };
    format!("connections:\n  c:\n    type: {kind}\n    {own}\n    auth: {{ {auth} }}\n")
}

#[test]
fn every_kind_of_auth_is_known_and_checked() {
    let id = "client_id: a, client_secret: \"${env:S}\"";
    let entra = format!("type: oauth2_client_credentials, tenant: contoso.com, scope: s, client_auth: basic, {id}");
    let refresh = "type: oauth2_refresh_token, token_url: https://t.example, client_id: a, refresh_token: \"${env:S}\"";
    let jwt = "type: jwt_bearer, token_url: https://t.example, issuer: i, subject: u, algorithm: RS256, \
               private_key: \"${env:S}\"";
    let http =
        [&entra, refresh, jwt, "type: shared_key, account: a, key: \"${env:S}\"", "type: sas, token: \"${env:S}\""];
    let smtp = format!("type: xoauth2, username: u@a.example, token: {{ {entra} }}");
    let texts = http.map(|auth| with_auth("http", auth)).into_iter().chain([with_auth("smtp", &smtp)]);
    for text in texts {
        let (loaded, _folder) = load(&[("leadflow.yaml", &text)], None, Mode::Serve, &[("S", "hunter2")]);
        assert_eq!(told(&loaded), Vec::<String>::new(), "{text}");
        let rows = print::rows(&loaded.origins.expect("origins"));
        assert!(!rows.iter().any(|row| row.value.contains("hunter2")), "{text}");
    }
    let auth = |kind: &str, auth: &str, code: &str, words: &str| {
        let (loaded, _folder) = one(&with_auth(kind, auth));
        let findings = loaded.findings.iter().filter(|finding| finding.severity == crate::diagnostic::Severity::Error);
        let found: Vec<_> = findings.map(|finding| (finding.code, finding.message.clone())).collect();
        assert!(matches!(&found[..], [(only, said)] if *only == code && said.contains(words)), "{auth}: {found:?}");
    };
    auth(
        "http",
        "type: oauth2_client_credentials, client_id: a, client_secret: b",
        "missing_key",
        "`tenant`, `token_url`",
    );
    auth("http", &format!("{entra}, token_url: https://t.example"), "invalid_value", "`tenant` and `token_url`");
    auth(
        "http",
        "type: oauth2_client_credentials, tenat: t, client_id: a, client_secret: b",
        "unknown_key",
        "`tenant`",
    );
    auth("http", "type: jwt_bearer, token_url: https://t.example, issuer: i", "missing_key", "private_key");
    auth(
        "http",
        "type: oauth2_client_credential, client_id: a",
        "invalid_value",
        "did you mean `oauth2_client_credentials`?",
    );
    auth("http", "type: xoauth2, username: u", "invalid_value", "cannot be `xoauth2`");
    auth("smtp", "type: xoauth2, username: u, token: { type: sas, token: x }", "invalid_value", "cannot be `sas`");
}

#[test]
fn every_code_is_in_the_catalogue() {
    let sources = [include_str!("check.rs"), include_str!("references.rs"), include_str!("load.rs")];
    let codes = [
        "unknown_key",
        "missing_key",
        "wrong_type",
        "invalid_value",
        "not_yet",
        "bad_duration",
        "bad_reference",
        "unset_variable",
        "missing_file",
        "bad_size",
        "bad_rate",
        "bad_listen",
        "unknown_connector",
        "literal_secret",
        "admin_token_required",
    ];
    for code in codes {
        assert!(sources.iter().any(|source| source.contains(&format!("\"{code}\""))), "{code} is not used");
        assert!(crate::diagnostic::codes::find(code).is_some(), "{code} is not in the catalogue");
    }
}

#[test]
fn the_sample_settings_of_the_repository_are_fine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let options = LoadOptions {
        config: Some(folder.join("leadflow.yaml")),
        env: Some("production".into()),
        ..LoadOptions::default()
    };
    let loaded = load_with(&options, Mode::Check, &|_| Some("x".into()), &[]).expect("sample settings");
    assert!(loaded.settings.is_some(), "{:?}", told(&loaded));
    let worse: Vec<String> = told(&loaded).into_iter().filter(|line| !line.starts_with("note[missing_file]")).collect();
    assert_eq!(worse, Vec::<String>::new());
}

/// A connector file cannot take a key that every connection has: the list that it is checked by is this one.
#[test]
fn connector_files_know_the_keys_of_every_connection() {
    let common = super::format::schema_of::<super::format::Common>();
    let keys: Vec<&String> = common["properties"].as_object().expect("keys").keys().collect();
    for key in keys {
        assert!(crate::connectors::rest::COMMON_KEYS.contains(&key.as_str()), "{key}");
    }
}
