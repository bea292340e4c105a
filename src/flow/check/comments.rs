//! `subject: Hello # {{trigger.body.X}}`: YAML takes the template for a comment, and nobody is told.

use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::yaml::{Doc, Located, dotted};

/// A warning for each plain text with a template in the comment behind it.
pub(super) fn check(doc: &Doc) -> Vec<Diagnostic> {
    doc.nodes.iter().filter_map(|(pointer, located)| finding(doc, pointer, located)).collect()
}

fn finding(doc: &Doc, pointer: &str, located: &Located) -> Option<Diagnostic> {
    if !matches!(doc.value.pointer(pointer)?, Value::String(_) | Value::Null) {
        return None;
    }
    let raw = doc.text.get(located.value.clone())?;
    if raw.starts_with(['"', '\'']) || raw.ends_with('\n') {
        return None;
    }
    let rest = doc.text.get(located.value.end..)?.lines().next()?;
    let comment = rest.find('#').filter(|at| rest[..*at].chars().all(|before| before == ' ' || before == '\t'));
    // An empty value ends right behind its key's colon.
    let comment = comment.or_else(|| rest.strip_prefix(':')?.find('#').map(|at| at + 1).filter(|_| raw.is_empty()))?;
    if !rest[comment..].contains("{{") {
        return None;
    }
    let start = located.value.end + comment;
    let place = doc.place(&(start..start + rest[comment..].len()));
    let key = dotted(pointer).rsplit('.').next().unwrap_or_default().to_owned();
    let whole = format!("{raw} {}", rest[comment..].trim_end()).trim().replace('"', "\\\"");
    Some(
        Diagnostic::new("template_in_comment", place, dotted(pointer), "this is a comment: the template is not used")
            .help(format!("write  {key}: \"{whole}\"   (or delete the comment)")),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_in_comments_behind_plain_texts_are_told() {
        let text = "a: Hello # {{x}}\nb: \"quoted\" # {{y}}\nc: # {{z}}\nd: |\n  text # {{w}}\ne: 8 # {{v}}\nf: x # no\n# {{u}}\ng: 1\n";
        let (doc, _) = crate::yaml::parse("f.yaml", text);
        let mut found = super::check(&doc.expect("a document"));
        found.sort_by_key(|finding| finding.place.line);
        let told: Vec<_> = found.iter().map(|finding| (finding.place.line, finding.place.column)).collect();
        assert_eq!(told, [(1, 10), (3, 4)]);
        assert_eq!(found[0].help.as_deref(), Some("write  a: \"Hello # {{x}}\"   (or delete the comment)"));
    }
}
