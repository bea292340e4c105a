//! Who chooses the host of a URL: the flow, or a value that came with a lead. Private addresses are refused to the latter.

use crate::template::Template;

/// Roots whose values the flow or its operator wrote.
const OWN_ROOTS: [&str; 3] = ["parameters", "environment", "flow"];

/// Whether a value from outside can choose the host: the whole URL is one, or one stands before the host's end.
pub(super) fn comes_from_a_value(url: &Template) -> bool {
    let end = host_end(&url.source);
    let chooses = |root: &str| !OWN_ROOTS.iter().any(|own| own.eq_ignore_ascii_case(root));
    url.paths().iter().any(|path| (url.is_lone_expression() || path.range.start < end) && chooses(&path.root))
}

/// The byte behind the host in the text as written; whatever stands in `{{…}}` is no part of the URL's own text.
fn host_end(source: &str) -> usize {
    let own_text = masked(source);
    let host = own_text.find("://").map_or(0, |at| at + 3);
    own_text[host..].find(['/', '?', '#']).map_or(source.len(), |at| host + at)
}

/// The text with every byte of its mustaches replaced, so that positions stay.
fn masked(source: &str) -> String {
    let mut masked = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{{") {
        let close = rest[open..].find("}}").map_or(rest.len(), |at| open + at + 2);
        masked.push_str(&rest[..open]);
        masked.extend(std::iter::repeat_n('_', close - open));
        rest = &rest[close..];
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Destination;

    #[test]
    fn a_value_before_the_hosts_end_chooses_it() {
        for (url, chosen) in [
            ("{{trigger.body.url}}", true),
            ("{{trigger.body.base}}/leads", true),
            ("http://{{trigger.body.host}}/x", true),
            ("https://{{trigger.body.tenant}}.example.com/x", true),
            ("https://example.com:{{actions.a.outputs}}", true),
            ("{{toLower trigger.body.scheme}}://example.com/x", true),
            ("{{parameters.target}}", false),
            ("{{parameters.target}}/events/{{trigger.body.id}}", false),
            ("https://example.com/{{trigger.body.id}}?q={{trigger.body.q}}", false),
            ("https://{{parameters.host}}/{{trigger.body.id}}", false),
            ("/leads/{{trigger.body.id}}", false),
            ("leads?id={{trigger.body.id}}", false),
        ] {
            let template = Template::compile(url, Destination::Url).expect("compiles");
            assert_eq!(comes_from_a_value(&template), chosen, "{url}");
        }
    }
}
