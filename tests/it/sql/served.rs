//! The whole program with tables as a destination: what the pages of the connectors say, as it stands there.

use std::fs;

use serde_json::Value;

use super::site::Engine;
use crate::support::postgres::Server;
use crate::support::{Workspace, project, sample, wire};

/// The fenced block that follows `start` on a page, without its indentation.
fn block(page: &str, start: &str) -> String {
    let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start} on the page"));
    let lines: Vec<&str> = rest.lines().skip(1).take_while(|line| line.trim() != "```").map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// Asks the table.
type Query = Box<dyn Fn(&str) -> Vec<String>>;

/// A workspace with the files of the page of `engine`, and its table in a database of its own.
fn set_up(engine: Engine) -> (Workspace, String, Query) {
    let name = if engine == Engine::Postgres { "postgres" } else { "sqlite" };
    let page = fs::read_to_string(project().join(format!("docs/connectors/{name}.md"))).expect("the page");
    let (settings, flow) = (block(&page, "title=\"leadflow.yaml\""), format!("contoso-{name}"));
    let workspace = Workspace::empty();
    workspace.write(&format!("flows/{flow}.yaml"), &block(&page, &format!("title=\"flows/{flow}.yaml\"")));
    let table = block(&page, "```sql");
    let query: Query = if engine == Engine::Postgres {
        let place = Server::shared().fresh_database();
        Server::shared().execute(&place, &table);
        workspace.write("url", &Server::shared().url(&place));
        workspace.write("leadflow.yaml", &settings.replace("${env:CRM_DATABASE_URL}", "${file:url}"));
        Box::new(move |sql| Server::shared().execute(&place, sql))
    } else {
        let file = workspace.path().join("crm.db");
        rusqlite::Connection::open(&file).expect("opens").execute_batch(&table).expect("sets up");
        workspace.write("leadflow.yaml", &settings);
        Box::new(move |sql| {
            let conn = rusqlite::Connection::open(&file).expect("opens");
            let mut statement = conn.prepare(sql).expect("prepares");
            let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("runs");
            rows.map(|row| row.expect("a row")).collect()
        })
    };
    (workspace, flow, query)
}

/// The codes that `check --live` has for a file, notes aside.
fn live_codes(workspace: &Workspace, file: &str) -> Vec<String> {
    let output = workspace.run(&["check", file, "--live", "--format", "json"]);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let worse = findings.iter().filter(|finding| finding["severity"] != "note");
    worse.map(|finding| finding["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_page_is_checked_tried_and_served_as_it_stands() {
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let (workspace, flow, query) = set_up(engine);
        let at = format!("flows/{flow}.yaml");
        assert_eq!(live_codes(&workspace, &at), [""; 0], "{engine:?}");
        workspace.write("lead.json", &sample());
        let dry = workspace.json(&["dry-run", &flow, "--lead", "lead.json", "--json"]);
        let told = &dry["effects"][0];
        assert_eq!(
            (&told["kind"], &told["operation"], &told["entity"]),
            (&"sql".into(), &"create".into(), &"leads".into())
        );
        assert!(told["statement"].as_str().is_some_and(|text| text.starts_with("INSERT INTO \"leads\"")), "{told:#}");
        assert!(told["parameters"].as_array().is_some_and(|given| given.contains(&"Some".into())), "{told:#}");
        let text = workspace.expect(0, &["dry-run", &flow, "--lead", "lead.json"]);
        assert!(text.contains("would create 1 record"), "{text}");
        let count = "select cast(count(*) as text) from leads";
        assert_eq!(query(count), ["0"], "nothing was written");

        let mut server = workspace.serve();
        assert_eq!(wire::post(server.url(&flow), &sample()).expect("an answer").status, 202);
        workspace.until_ended();
        let run = workspace.show("last");
        assert_eq!(
            (&run["status"], &run["actions"][0]["outcome"]),
            (&"succeeded".into(), &"created".into()),
            "{run:#}"
        );
        assert_eq!(
            query("select first_name || ' ' || last_name || ' ' || email from leads"),
            ["Some One someone@contoso.com"]
        );
        // Killed with leads on their way: each is there once.
        for _ in 0..30 {
            assert_eq!(wire::post(server.url(&flow), &sample()).expect("an answer").status, 202);
        }
        server.crash();
        let _server = workspace.serve();
        let runs = workspace.until_ended();
        let is_flagged = |run: &Value| run["possible_repeat"] == true;
        assert!(runs.iter().all(|run| run["status"] == "succeeded" && !is_flagged(run)), "{runs:#?}");
        assert_eq!((runs.len(), query(count)), (31, vec!["31".to_owned()]));
    }
}

#[test]
fn live_checks_compare_the_mapping_with_the_table() {
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let (workspace, flow, _) = set_up(engine);
        let at = format!("flows/{flow}.yaml");
        let text = fs::read_to_string(workspace.path().join(&at)).expect("the flow");
        let codes = |text: &str| -> Vec<String> {
            workspace.write(&at, text);
            live_codes(&workspace, &at)
        };
        assert_eq!(codes(&text.replace("      email:", "      emial:")), ["unknown_field"], "{engine:?}");
        assert_eq!(codes(&text.replace("entity: leads", "entity: lead")), ["unknown_entity"]);
        let without = text.replace("      offer: \"{{trigger.body.OfferTitle}}\"\n", "");
        assert_eq!(codes(&without), ["missing_field"]);
    }
}
