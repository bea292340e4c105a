//! Power Automate's functions that answer what has a path here: `triggerBody()`, `outputs('A')`, `items('loop')`, …
//!
//! They are no helpers. Who types one is told the path; the reference lists them.

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct WorkflowPath {
    /// Its name there.
    pub function: &'static str,
    /// The path here; `NAME` stands for what it is given.
    pub path: &'static str,
    /// What else there is to know; may be empty.
    pub note: &'static str,
}

const fn path(function: &'static str, path: &'static str, note: &'static str) -> WorkflowPath {
    WorkflowPath { function, path, note }
}

/// All of them, by name.
pub const PATHS: &[WorkflowPath] = &[
    path("action", "actions.NAME", "of the action that is meant: an action has no other name for itself"),
    path("actions", "actions.NAME", "with `status`, `outputs` and `error`"),
    path("body", "actions.NAME.outputs.body", "of an `http` action; other actions have their outputs directly"),
    path(
        "formDataMultiValues",
        "actions.NAME.outputs.body",
        "a form is an object of its fields, a repeated one a list",
    ),
    path("formDataValue", "actions.NAME.outputs.body", "a form is an object of its fields"),
    path("item", "item", "in `for_each`, `select`, `filter` and inside {{#each}}"),
    path("items", "loops.NAME.item", "by the name of its loop"),
    path("iterationIndexes", "loops.NAME.index", "by the name of its loop; of the innermost one `item_index`"),
    path("outputs", "actions.NAME.outputs", ""),
    path("parameters", "parameters.NAME", ""),
    path("result", "actions.NAME.outputs.result", "of a scope or a loop"),
    path("trigger", "trigger", "with `body`, `headers`, `query`, `path` and `method`"),
    path("triggerBody", "trigger.body", ""),
    path("triggerFormDataMultiValues", "trigger.body.NAME", "a form is an object of its fields, a repeated one a list"),
    path("triggerFormDataValue", "trigger.body.NAME", "a form is an object of its fields"),
    path("triggerOutputs", "trigger", "with `body`, `headers`, `query`, `path` and `method`"),
    path("variables", "variables.NAME", ""),
    path("workflow", "run.id", "or `flow.name`: what `workflow()` tells stands in `run` and `flow`"),
];

/// The path for `function`, called with `argument` (a name without its quotes, or nothing).
pub(in crate::template) fn path_of(function: &str, argument: &str) -> Option<String> {
    let entry = PATHS.iter().find(|entry| entry.function.eq_ignore_ascii_case(function))?;
    let is_name = |name: &str| !name.is_empty() && name.chars().all(crate::template::syntax::is_name_char);
    if !entry.path.contains("NAME") {
        return argument.is_empty().then(|| entry.path.to_owned());
    }
    match argument {
        "" => Some(entry.path.to_owned()),
        name if is_name(name) => Some(entry.path.replace("NAME", name)),
        name if !name.contains(['[', ']', '\'', '"']) => Some(entry.path.replace("NAME", &format!("[{name}]"))),
        _ => None,
    }
}
