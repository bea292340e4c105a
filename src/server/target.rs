//! What a public URL asks for. Paths are percent-decoded once, segment by segment, so that `%2F` never becomes a
//! separator; dot segments are names like any other; a trailing slash is ignored.

use http::Uri;
use percent_encoding::percent_decode_str;

/// What the public listener knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/healthz`.
    Health,
    /// `/flows/NAME[/PATH]`.
    Flow {
        /// The decoded name; `None`: not UTF-8, so no flow's name.
        name: Option<String>,
        /// The decoded segments behind it; `None`: not UTF-8.
        rest: Option<Vec<String>>,
    },
    /// Anything else.
    Unknown,
}

/// Reads a path.
pub(super) fn target(path: &str) -> Target {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/').map(decoded);
    let first = segments.next().flatten();
    match (first.as_deref(), segments.next()) {
        (Some("healthz"), None) => Target::Health,
        (Some("flows"), Some(name)) => Target::Flow { name, rest: segments.collect() },
        _ => Target::Unknown,
    }
}

/// The decoded query, in order, repeated names and all.
pub(super) fn query(uri: &Uri) -> Vec<(String, String)> {
    uri.query().map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()).unwrap_or_default()
}

fn decoded(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str, rest: &[&str]) -> Target {
        Target::Flow { name: Some(name.into()), rest: Some(rest.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn flows_and_their_paths() {
        assert_eq!(target("/flows/contoso"), flow("contoso", &[]));
        assert_eq!(target("/flows/contoso/"), flow("contoso", &[]));
        assert_eq!(target("/flows/contoso/customers/7"), flow("contoso", &["customers", "7"]));
        assert_eq!(target("/%66lows/cont%6Fso"), flow("contoso", &[]));
    }

    #[test]
    fn decoding_happens_once_and_never_makes_a_separator() {
        assert_eq!(target("/flows/a%2Fb"), flow("a/b", &[]));
        assert_eq!(target("/flows/a/%252e"), flow("a", &["%2e"]));
        assert_eq!(target("/flows/a/caf%C3%A9"), flow("a", &["café"]));
        assert_eq!(target("/flows/%ff"), Target::Flow { name: None, rest: Some(vec![]) });
        assert_eq!(target("/flows/a/%ff"), Target::Flow { name: Some("a".into()), rest: None });
    }

    #[test]
    fn dot_segments_are_names() {
        assert_eq!(target("/flows/../healthz"), flow("..", &["healthz"]));
        assert_eq!(target("/flows/a/../b"), flow("a", &["..", "b"]));
        assert_eq!(target("/x/../flows/a"), Target::Unknown);
    }

    #[test]
    fn nothing_else_is_known() {
        assert_eq!(target("/healthz"), Target::Health);
        assert_eq!(target("/healthz/"), Target::Health);
        for path in ["/", "", "/flows", "/flows/", "/healthz/x", "/metrics", "//flows/a", "/Flows/a", "*"] {
            assert_eq!(target(path), Target::Unknown, "{path}");
        }
    }

    #[test]
    fn queries_keep_order_and_repeats() {
        let uri: Uri = "/x?b=2&a=1+2&b=%26".parse().expect("uri");
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(query(&uri), pairs(&[("b", "2"), ("a", "1 2"), ("b", "&")]));
    }
}
