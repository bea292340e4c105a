//! What happens when nobody knows whether an action was done: is there anything to say, and was it said?

use serde_json::{Map, Value};

use super::Linter;
use crate::diagnostic::{Diagnostic, Severity};
use crate::flow::catalogue::{ActionSpec, OperationKind, Repeat, is_repeatable_method};
use crate::flow::format::CommonKeys;
use crate::yaml::{child, dotted};

/// The connector type of an `http` action without a connection.
const PLAIN_HTTP: &str = "http";

impl Linter<'_> {
    /// `on_unknown` where nothing can be unknown, and a note where a repeat may act twice and nobody has said whether
    /// there shall be one.
    pub(super) fn on_unknown(
        &mut self,
        pointer: &str,
        spec: &ActionSpec,
        common: &CommonKeys,
        own: &Map<String, Value>,
    ) {
        if common.on_unknown.is_some() {
            if !spec.leaves_the_machine {
                let message = format!("{} does not leave the machine: its outcome is always known", spec.kind);
                let help = Some("remove `on_unknown`".to_owned());
                self.report("bad_on_unknown", &child(pointer, "on_unknown"), message, help);
            }
            return;
        }
        let (Some(known), Some(operation)) = (self.environment.connections, spec.operation) else { return };
        let name = own.get("connection").and_then(Value::as_str);
        let kind = match name {
            Some(name) if self.environment.connections_decided.iter().any(|decided| decided == name) => return,
            Some(name) => known.get(name).map(String::as_str),
            None => (operation == OperationKind::Http).then_some(PLAIN_HTTP),
        };
        let connector = kind.and_then(|kind| self.environment.catalogue.connector(kind));
        if connector.and_then(|connector| connector.repeat(operation)) != Some(Repeat::Unsafe) {
            return;
        }
        let method = own.get("method").and_then(Value::as_str).filter(|_| operation == OperationKind::Http);
        if method.is_some_and(is_repeatable_method) {
            return;
        }
        let over = name.map_or_else(|| "plain HTTP".to_owned(), |name| format!("the connection `{name}`"));
        let message = format!("over {over} a try whose answer was lost is done again and may act twice");
        let help = "say `on_unknown: retry` (twice rather than never) or `on_unknown: hold` (somebody decides) at the \
                    action or at the connection";
        let at = child(pointer, "type");
        let finding = Diagnostic::new("unsafe_repeat", self.doc.value_place(&at), dotted(&at), message);
        self.findings.push(finding.severity(Severity::Note).help(help));
    }
}
