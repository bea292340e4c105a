//! Text that never shows itself: `Debug` and `Display` print `***`.

use secrecy::{ExposeSecret, SecretString};

/// A secret value from `${env:NAME}` or `${file:PATH}`. Zeroed when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself: only for the call that hands it to the other side.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "writeOnly": true, "x-secret": true,
            "description": "Write it as ${env:NAME} or ${file:PATH}, never as text."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_to_nobody_who_prints_it() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").expect("text");
        let within = Some(vec![secret.clone()]);
        for shown in [format!("{secret}"), format!("{secret:?}"), format!("{secret:>9}"), format!("{within:#?}")] {
            assert!(shown.contains("***") && !shown.contains("hunter"), "{shown}");
        }
        assert_eq!(secret.expose(), "hunter2");
    }
}
