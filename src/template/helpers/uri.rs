//! Parts of a URI: `uriHost`, `uriPath`, `uriQuery`, …

use url::Url;

use super::{Eval, Given, HelperSpec, Kind, PLAIN, RenderError, Signature, example};

/// A whole URI.
const URI: Signature = Signature::takes(&["uri"], &[Kind::SolidText]);

/// The family.
pub(super) const HELPERS: &[HelperSpec] = &[
    HelperSpec {
        name: "uriHost",
        gives: Kind::Text,
        arguments: URI,
        summary: "the host of a URI",
        examples: &[example("{{uriHost 'https://www.contoso.com:8080/a?b=1'}}", "{}", r#""www.contoso.com""#)],
        eval: Eval::Strict(|given| Ok(host(&parse(given)?).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "uriPath",
        gives: Kind::Text,
        arguments: URI,
        summary: "the path of a URI",
        examples: &[example("{{uriPath 'https://contoso.com/catalog/new.htm?d=1'}}", "{}", r#""/catalog/new.htm""#)],
        eval: Eval::Strict(|given| Ok(parse(given)?.path().into())),
        ..PLAIN
    },
    HelperSpec {
        name: "uriPathAndQuery",
        gives: Kind::Text,
        arguments: URI,
        summary: "the path and the query of a URI",
        examples: &[example("{{uriPathAndQuery 'https://contoso.com/a?b=1#c'}}", "{}", r#""/a?b=1""#)],
        eval: Eval::Strict(|given| {
            let uri = parse(given)?;
            Ok(format!("{}{}", uri.path(), query(&uri)).into())
        }),
        ..PLAIN
    },
    HelperSpec {
        name: "uriPort",
        gives: Kind::Integer,
        arguments: URI,
        summary: "the port of a URI: the one of its scheme where it says none, -1 where that has none",
        examples: &[
            example("{{uriPort 'https://contoso.com:8080'}}", "{}", "8080"),
            example("{{uriPort 'https://contoso.com'}}", "{}", "443"),
        ],
        eval: Eval::Strict(|given| Ok(parse(given)?.port_or_known_default().map_or(-1, i64::from).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "uriQuery",
        gives: Kind::Text,
        arguments: URI,
        summary: "the query of a URI with its `?`; empty where it has none",
        examples: &[example("{{uriQuery 'https://contoso.com/a?b=1&c=2'}}", "{}", r#""?b=1&c=2""#)],
        eval: Eval::Strict(|given| Ok(query(&parse(given)?).into())),
        ..PLAIN
    },
    HelperSpec {
        name: "uriScheme",
        gives: Kind::Text,
        arguments: URI,
        summary: "the scheme of a URI, in lower case",
        examples: &[example("{{uriScheme 'https://contoso.com'}}", "{}", r#""https""#)],
        eval: Eval::Strict(|given| Ok(parse(given)?.scheme().into())),
        ..PLAIN
    },
];

fn parse(given: &Given<'_>) -> Result<Url, RenderError> {
    let text = given.solid_text(0)?;
    Url::parse(text).map_err(|_| given.fail("got a text that is no absolute URI: they look like https://contoso.com/a"))
}

/// The host as people write it; that of `mailto:` stands behind the `@`.
fn host(uri: &Url) -> String {
    match uri.host_str() {
        Some(host) => url::quirks::domain_to_unicode(host),
        None if uri.scheme() == "mailto" => {
            uri.path().rsplit_once('@').map(|(_, host)| host).unwrap_or_default().into()
        }
        None => String::new(),
    }
}

fn query(uri: &Url) -> String {
    uri.query().map(|query| format!("?{query}")).unwrap_or_default()
}
