//! Keys whose values are well formed and make no sense where they stand, and action types that people type from habit.

use serde_json::Value;

use super::Linter;
use crate::diagnostic::nearest;
use crate::flow::catalogue::ActionSpec;
use crate::flow::format::CommonKeys;
use crate::template::{equals, is_template};
use crate::units;
use crate::yaml::child;

/// What people call action types elsewhere (lower-case, letters and digits only), what it is here, and what else there
/// is to say.
const HABITS: &[(&[&str], &str, &str)] = &[
    (&["if", "ifelse", "conditional", "when"], "condition", "write  type: condition  with `if`, `then` and `else`"),
    (&["case", "switchcase", "match"], "switch", "write  type: switch  with `value`, `cases` and `default`"),
    (
        &["foreach", "applytoeach", "loop", "each", "for", "map", "iterate"],
        "for_each",
        "write  type: for_each  with `items` and `actions`; inside it there is `item`",
    ),
    (
        &["dountil", "repeat", "repeatuntil", "while", "dowhile"],
        "until",
        "write  type: until  with `condition` and `actions`; it goes on until the condition is true",
    ),
    (
        &["try", "trycatch", "catch", "finally", "group", "block"],
        "scope",
        "write  type: scope ; what handles its failure follows with  run_after: { NAME: [failed] }",
    ),
    (
        &["initializevariable", "initvariable", "declarevariable", "variable"],
        "variables",
        "variables are declared at the top of the flow: write  variables: { NAME: VALUE }",
    ),
    (&["setvariable", "assign"], "set_variable", "write  type: set_variable  with `variable` and `value`"),
    (
        &["appendtoarrayvariable", "appendtostringvariable", "appendtoarray", "appendtostring"],
        "append_variable",
        "write  type: append_variable  with `variable` and `value`; it serves lists and texts",
    ),
    (
        &["incrementvariable", "decrementvariable"],
        "increment_variable",
        "write  type: increment_variable  with `variable` and `value`; a negative value takes away",
    ),
    (
        &["parallel", "parallelbranch", "branch", "join", "fork"],
        "run_after",
        "branches need no action: an action with  run_after: {}  starts at once; one that names several waits for all",
    ),
    (&["wait", "delayuntil", "sleep", "pause"], "delay", "write  type: delay  with `for` or `until`"),
    (
        &["response", "return", "reply", "answer"],
        "respond",
        "write  type: respond  with `status`, `headers` and `body`",
    ),
    (
        &["exit", "stop", "end", "fail", "throw", "abort", "cancel"],
        "terminate",
        "write  type: terminate  with `status`: succeeded, failed or cancelled",
    ),
    (
        &["email", "mail", "sendmail", "sendanemail", "sendanemailv2", "sendemailv2", "sendanemailnotificationv3"],
        "send_email",
        "write  type: send_email  with `connection`, `to`, `subject` and `body` or `html`",
    ),
    (
        &["addrow", "addanewrow", "createnewrecord", "createanewrecord", "createitem", "insert", "createlead"],
        "create_record",
        "write  type: create_record  with `connection`, `entity` and `fields`",
    ),
    (&["updaterow", "updatearow", "updatearecord", "updateitem", "update"], "update_record", ""),
    (&["upsert", "upsertarow", "upsertrow"], "upsert_record", ""),
    (&["getrow", "getarowbyid", "getarecord", "getitem"], "get_record", ""),
    (&["listrows", "getitems", "getrecords", "query"], "list_records", ""),
    (
        &["request", "httprequest", "webhook", "fetch", "callhttp", "invokehttp", "post"],
        "http",
        "write  type: http  with `method` and `url`; what starts the flow stands under `trigger`",
    ),
    (&["set", "let", "template", "transform", "initialize"], "compose", "write  type: compose  with `inputs`"),
    (&["parsejson", "json"], "parse_json", "write  type: parse_json  with `content` and `schema`"),
    (&["filterarray", "where"], "filter", "write  type: filter  with `from` and `where`"),
    (&["createcsvtable", "csv"], "csv_table", "write  type: csv_table  with `from`"),
    (&["createhtmltable", "html"], "html_table", "write  type: html_table  with `from`"),
    (
        &["runachildflow", "childflow", "workflow", "callflow", "subflow"],
        "run_flow",
        "write  type: run_flow  with `flow` and `body`",
    ),
];

/// What somebody who writes `type: kind` probably means, with how to write it.
fn habit(kind: &str) -> Option<(&'static str, &'static str)> {
    let letters = |character: &char| character.is_alphanumeric();
    let plain: String = kind.chars().filter(letters).flat_map(char::to_lowercase).collect();
    let (_, meant, help) = HABITS.iter().find(|(words, ..)| words.contains(&plain.as_str()))?;
    Some((meant, help))
}

impl Linter<'_> {
    /// An action type that does not exist: what was probably meant.
    pub(super) fn unknown_action_type(&mut self, kind: &str, at: &str) {
        let known: Vec<&str> = self.environment.catalogue.actions.iter().map(|spec| spec.kind).collect();
        let all = || format!("action types: {}", known.join(" "));
        // A name that differs only in how it is spelt is a slip; a habit has its own words.
        let spelt = |text: &str| text.replace(['_', '-', ' '], "").to_lowercase();
        let same = known.iter().copied().find(|name| spelt(name) == spelt(kind));
        let (near, help) = match (same, habit(kind)) {
            (_, Some((meant, help))) if !help.is_empty() => (Some(meant), help.to_owned()),
            (_, Some((meant, _))) => (Some(meant), all()),
            (same, None) => (same.or_else(|| nearest(kind, known.iter().copied())), all()),
        };
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("there is no action type `{kind}`{near}");
        self.report("unknown_action_type", at, message, Some(help));
    }

    /// `timeout` bounds a try, so it belongs to what is tried or waited for.
    pub(super) fn timeout(&mut self, pointer: &str, spec: &ActionSpec, common: &CommonKeys) {
        let Some(text) = &common.timeout else { return };
        let at = child(pointer, "timeout");
        let has_own = spec.keys.as_value().pointer("/properties/timeout").is_some();
        if !has_own && !spec.is_timed() {
            let message = format!("{} does not leave the machine: there is no try that could take long", spec.kind);
            return self.report("bad_timeout", &at, message, Some("remove `timeout`".into()));
        }
        if !has_own && units::duration(text).is_ok_and(|timeout| timeout.is_zero()) {
            let message = "a timeout of nothing ends every try before it can succeed".to_owned();
            self.report("bad_timeout", &at, message, Some("write  timeout: 30s".into()));
        }
    }

    /// Cases of a `switch` that can never be chosen, because an earlier one takes the same value.
    pub(super) fn cases(&mut self, pointer: &str, checked: &Value) {
        let cases = checked.get("cases").and_then(Value::as_array).into_iter().flatten().enumerate();
        let mut seen: Vec<(&Value, String)> = Vec::new();
        for (number, case) in cases {
            let at = format!("{pointer}/cases/{number}/case");
            let values: Vec<(&Value, String)> = match case.get("case") {
                Some(Value::Array(values)) => {
                    values.iter().enumerate().map(|(index, value)| (value, format!("{at}/{index}"))).collect()
                }
                Some(value) => vec![(value, at.clone())],
                None => continue,
            };
            if values.is_empty() {
                let message = "no value fits this case: its list is empty".to_owned();
                self.report("duplicate_case", &at, message, Some("write the values that it takes".into()));
            }
            for (value, at) in values {
                let is_text = |value: &Value| value.as_str().is_some_and(is_template);
                match seen.iter().find(|(other, _)| equals(other, value) && !is_text(value)) {
                    Some((_, first)) => {
                        let line = self.doc.value_place(first).line;
                        let message = format!("the case in line {line} takes this value already: this one never runs");
                        self.report("duplicate_case", &at, message, Some("remove it, or change the value".into()));
                    }
                    None => seen.push((value, at)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_lead_to_the_right_form() {
        for (typed, meant) in [
            ("Apply to each", "for_each"),
            ("foreach", "for_each"),
            ("If", "condition"),
            ("Do until", "until"),
            ("initialize_variable", "variables"),
            ("InitializeVariable", "variables"),
            ("parallel", "run_after"),
            ("append-to-array-variable", "append_variable"),
            ("Send_an_email_(V2)", "send_email"),
            ("Response", "respond"),
            ("Delay until", "delay"),
        ] {
            assert_eq!(habit(typed).map(|(meant, _)| meant), Some(meant), "{typed}");
        }
        assert_eq!(habit("slack"), None);
    }

    #[test]
    fn each_habit_stands_once_and_is_no_type_itself() {
        let mut seen = std::collections::BTreeSet::new();
        let known: Vec<&str> = crate::flow::control::specs().iter().map(|spec| spec.kind).collect();
        for word in HABITS.iter().flat_map(|(words, ..)| *words) {
            assert!(seen.insert(word), "{word} stands twice");
            assert!(!known.contains(word), "{word} is a type");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{word}");
        }
    }
}
