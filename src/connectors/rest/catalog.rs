//! The connector files that come with leadflow. A new one is its file in `connectors/catalog/` and its line here.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::Rest;
use super::broken::Broken;
use super::check;
use crate::connectors::{Connector, Opened, Reach};
use crate::flow::catalogue::ConnectorSpec;

/// Name and text of each file.
pub const CATALOG: &[(&str, &str)] = &[
    ("hubspot", include_str!("../catalog/hubspot.yaml")),
    ("pipedrive", include_str!("../catalog/pipedrive.yaml")),
    ("zoho", include_str!("../catalog/zoho.yaml")),
    ("odoo", include_str!("../catalog/odoo.yaml")),
    ("graph", include_str!("../catalog/graph.yaml")),
    ("sendgrid", include_str!("../catalog/sendgrid.yaml")),
    ("teams", include_str!("../catalog/teams.yaml")),
    ("slack", include_str!("../catalog/slack.yaml")),
];

/// The connectors of the catalogue. Each is compiled when it is first needed.
pub fn embedded() -> Vec<Arc<dyn Connector>> {
    let one = |(name, text): &(&'static str, &'static str)| {
        Arc::new(Embedded { name, text, compiled: OnceLock::new() }) as Arc<dyn Connector>
    };
    CATALOG.iter().map(one).collect()
}

/// A file of the catalogue.
struct Embedded {
    name: &'static str,
    text: &'static str,
    compiled: OnceLock<Box<dyn Connector>>,
}

impl Embedded {
    fn compiled(&self) -> &dyn Connector {
        let compiled = self.compiled.get_or_init(|| {
            let file = format!("{}.yaml", self.name);
            // Its tests have run when leadflow was built. That it compiles was one of them.
            match check::check(&file, self.text).plan {
                Some(plan) => Box::new(Rest::new(plan)),
                None => Box::new(Broken::new(self.name, &file)),
            }
        });
        compiled.as_ref()
    }
}

impl Connector for Embedded {
    fn spec(&self) -> &ConnectorSpec {
        self.compiled().spec()
    }

    fn kind(&self) -> &str {
        self.name
    }

    fn concurrency(&self) -> Option<usize> {
        self.compiled().concurrency()
    }

    fn open(&self, settings: &Value, reach: &Reach) -> Result<Opened, String> {
        self.compiled().open(settings, reach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of the catalogue checks without a finding, its own tests included, and has some.
    #[test]
    fn the_catalogue_is_whole() {
        for (name, text) in CATALOG {
            let compiled = super::super::compile(&format!("{name}.yaml"), text);
            let told = compiled
                .findings
                .iter()
                .map(|one| format!("{}:{} {} {}", one.place.line, one.place.column, one.code, one.message));
            assert_eq!(told.collect::<Vec<_>>(), Vec::<String>::new(), "{name}");
            let rest = compiled.rest.expect("compiles");
            assert_eq!(rest.plan.kind, *name);
            assert!(rest.plan.tests.len() >= 3, "{name} has tests");
        }
    }
}
