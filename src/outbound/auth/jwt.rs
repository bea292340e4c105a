//! Signed statements (JWT): who asks, in whose name, for whom, and until when.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::settings::{JwtBearer, is_unresolved};
use crate::clock::{MICROS_PER_SEC, Micros};

/// How long a statement is valid, in seconds. Salesforce takes at most 180.
const STATEMENT_SECS: i64 = 150;

/// Random bytes of a statement's id: a server that remembers ids takes each statement once.
const ID_BYTES: usize = 16;

/// A statement's constant parts and the key that signs it.
pub(super) struct Signer {
    settings: JwtBearer,
    audience: String,
    /// `None`: the variable that holds it is not set.
    key: Option<KeyPair>,
}

impl Signer {
    /// Reads the key. The error names the setting, never its value.
    pub(super) fn new(settings: JwtBearer) -> Result<Self, String> {
        let text = settings.private_key.expose();
        let key = if is_unresolved(text) { None } else { Some(key(text)?) };
        let audience = settings.audience.clone().unwrap_or_else(|| settings.token_url.trim().to_owned());
        Ok(Self { settings, audience, key })
    }

    /// A statement made at `now`. The error says why there is none.
    pub(super) fn statement(&self, now: Micros) -> Result<String, &'static str> {
        let key = self.key.as_ref().ok_or("the variable of `private_key` is not set")?;
        let settings = &self.settings;
        let issued_at = now.div_euclid(MICROS_PER_SEC);
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).map_err(|_| "the system gives no random numbers")?;
        let head = present(json!({ "alg": "RS256", "typ": "JWT", "kid": settings.key_id }));
        let claims = present(json!({
            "iss": settings.issuer, "sub": settings.subject, "aud": self.audience, "scope": settings.scope,
            "iat": issued_at, "exp": issued_at + STATEMENT_SECS, "jti": hex::encode(id),
        }));
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "`private_key` cannot sign")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn present(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}

/// An RSA key as PEM; variables and JSON files often hold its line breaks as `\n`.
fn key(text: &str) -> Result<KeyPair, String> {
    let text = text.replace("\\n", "\n");
    let pem = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| "`auth.private_key` is not a private key in PEM (it begins with -----BEGIN PRIVATE KEY-----)")?;
    let read = match &pem {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("`auth.private_key` is not an RSA key".into()),
    };
    read.map_err(|_| "`auth.private_key` is not an RSA key of 2048 to 8192 bits".into())
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::secret::Secret;

    /// A fresh key: as PKCS#8, as PKCS#1, and its public half.
    pub(in super::super) fn fresh() -> (String, String, Vec<u8>) {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = pair.as_der().expect("a key");
        let der: &Pkcs8V1Der<'_> = &der;
        let pem = |kind: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<&str> =
                text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
            format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
        };
        // PKCS#8 is PKCS#1 behind a head of 26 bytes, for keys of this size.
        let public = pair.public_key().as_ref().to_vec();
        (pem("PRIVATE KEY", der.as_ref()), pem("RSA PRIVATE KEY", &der.as_ref()[26..]), public)
    }

    pub(in super::super) fn settings(private_key: &str) -> JwtBearer {
        JwtBearer {
            token_url: "https://login.example/token".into(),
            issuer: "app".into(),
            subject: Some("leads@contoso.example".into()),
            audience: None,
            scope: None,
            private_key: Secret::new(private_key),
            algorithm: super::super::settings::Algorithm::Rs256,
            key_id: None,
        }
    }

    fn decode(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    }

    #[test]
    fn a_statement_verifies_with_the_public_key_whatever_dress_the_private_one_wears() {
        let (pkcs8, pkcs1, public) = fresh();
        for pem in [pkcs8.clone(), pkcs1, pkcs8.replace('\n', "\\n")] {
            let mut settings = settings(&pem);
            settings.scope = Some("crm".into());
            settings.key_id = Some("k1".into());
            let signer = Signer::new(settings).expect("a key");
            let statement = signer.statement(1_700_000_000 * MICROS_PER_SEC).expect("signed");
            let parts: Vec<&str> = statement.split('.').collect();
            let [head, claims, signature] = parts[..] else { panic!("three parts") };
            assert_eq!(decode(head), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
            let mut claims_read = decode(claims);
            let id = claims_read.as_object_mut().and_then(|claims| claims.remove("jti")).expect("an id");
            assert_eq!(id.as_str().map(str::len), Some(2 * ID_BYTES));
            assert_eq!(
                claims_read,
                json!({"iss": "app", "sub": "leads@contoso.example", "aud": "https://login.example/token", "scope": "crm",
                    "iat": 1_700_000_000, "exp": 1_700_000_150})
            );
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
            let verifier = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
            verifier.verify(format!("{head}.{claims}").as_bytes(), &signature).expect("it verifies");
            assert!(verifier.verify(b"other", &signature).is_err());
        }
    }

    #[test]
    fn keys_that_are_none_are_refused_and_not_shown() {
        let curve = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----";
        for text in ["hunter2", "", curve, "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----"] {
            let error = Signer::new(settings(text)).err().expect("refused");
            assert!(error.contains("private_key") && !error.contains("hunter2"), "{error}");
        }
        let unset = Signer::new(settings("${env:KEY}")).expect("a dry run needs none");
        assert!(unset.statement(0).is_err());
    }
}
