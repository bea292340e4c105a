//! Settings that change while the server runs: read again when one of their files has changed, compared, applied.
//!
//! Promises: settings that do not check change nothing; what needs a restart keeps its old value and is told; a
//! connection that is to be as it is stays open.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::connect::{self, Opened};
use crate::clock::{Micros, micros};
use crate::connectors::rest;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::Engine;
use crate::library::files::{self, Hash, Reading, hash_of, shown};
use crate::server::{self, Controls, KeyRing};
use crate::settings::{self, LoadOptions, Loaded, Mode, Settings};
use crate::store::Store;

/// Where settings come from: files, and what the command line says over them.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Which files.
    pub options: LoadOptions,
    /// `--listen`.
    pub public_listen: Option<SocketAddr>,
    /// `--admin`.
    pub admin_listen: Option<SocketAddr>,
    /// `--public-url`.
    pub public_url: Option<String>,
}

impl Source {
    /// `settings` with what the command line says over them.
    pub fn over(&self, mut settings: Settings) -> Settings {
        settings.public_listen = self.public_listen.unwrap_or(settings.public_listen);
        settings.admin_listen = self.admin_listen.unwrap_or(settings.admin_listen);
        settings.public_url = self.public_url.clone().or(settings.public_url);
        settings
    }
}

/// What a running server is told new settings through.
pub(super) struct Reached {
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) controls: Arc<Controls>,
}

/// The settings that hold, and what watches over their files.
pub(super) struct Hot {
    source: Source,
    /// What holds: of keys that need a restart, the old values.
    pub(super) settings: Settings,
    opened: Opened,
    files: BTreeSet<PathBuf>,
    /// The folder of connector files.
    connectors: PathBuf,
    taken: Hash,
    /// A change that was seen and is not yet at rest, and since when.
    seen: Option<(Hash, Micros)>,
    /// What is wrong with what is on disk.
    pub(super) findings: Vec<Diagnostic>,
}

/// What a look at the settings came to.
pub(super) enum Looked {
    /// They are as they were.
    Same,
    /// They have changed and are not yet at rest.
    Unsettled,
    /// They have changed and do not check: the old ones stay.
    Refused,
    /// They are to hold from now on.
    New(Box<Candidate>),
}

/// Settings that check, with their connections open.
pub(super) struct Candidate {
    settings: Settings,
    opened: Opened,
}

impl Hot {
    /// Watches over the files of `settings`, which hold already.
    pub(super) fn new(source: Source, settings: Settings, opened: Opened) -> Self {
        let mut hot = Self {
            files: settings::own_files(&source.options),
            source,
            settings,
            opened,
            connectors: PathBuf::new(),
            taken: Hash::default(),
            seen: None,
            findings: Vec::new(),
        };
        if let Ok(loaded) = hot.load() {
            hot.findings = errors(&loaded.connector_findings);
            hot.connectors = loaded.connector_folder;
            hot.files = loaded.files;
        }
        hot.taken = hot.content();
        hot
    }

    /// Every file that the settings depend on.
    pub(super) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    fn load(&self) -> Result<Loaded, settings::LoadError> {
        settings::load_after(&self.source.options, Mode::Serve, self.settings.connectors.files())
    }

    fn content(&self) -> Hash {
        let content = |path: &PathBuf| match files::read(path, None, 0) {
            Reading::Read(content) => content.hash.to_vec(),
            Reading::Same | Reading::Unread(_) => Vec::new(),
        };
        let (connectors, _) = rest::paths(&self.connectors);
        let parts: Vec<Vec<u8>> =
            self.files.iter().chain(&connectors).flat_map(|path| [shown(path).into_bytes(), content(path)]).collect();
        hash_of(parts.iter().map(Vec::as_slice))
    }

    /// Reads the settings again if one of their files has changed and is at rest. Blocks.
    pub(super) fn look(&mut self, now: Micros) -> Looked {
        let content = self.content();
        if content == self.taken {
            self.seen = None;
            return Looked::Same;
        }
        let quiet = micros(self.settings.reload.quiet);
        match self.seen {
            Some((seen, at)) if seen == content && now.saturating_sub(at) >= quiet => {}
            Some((seen, _)) if seen == content => return Looked::Unsettled,
            _ => {
                self.seen = Some((content, now));
                return Looked::Unsettled;
            }
        }
        self.seen = None;
        self.taken = content;
        let looked = self.read();
        // The new settings may name other files.
        self.taken = if matches!(looked, Looked::New(_)) { self.content() } else { content };
        looked
    }

    fn read(&mut self) -> Looked {
        let loaded = match self.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                self.refuse(error.to_string());
                return Looked::Refused;
            }
        };
        // Files that broken settings name count as well: one of them may be what mends them.
        self.files.extend(loaded.files.iter().cloned());
        let Some(settings) = loaded.settings.clone().map(|settings| self.source.over(settings)) else {
            self.findings = errors(loaded.findings.iter().chain(&loaded.connector_findings));
            return Looked::Refused;
        };
        self.files.clone_from(&loaded.files);
        self.findings = needs_restart(&self.settings, &settings, &loaded);
        self.findings.extend(errors(&loaded.connector_findings));
        let settings = with_fixed(settings, &self.settings);
        match connect::open(&settings, Some(&self.opened)) {
            Ok(opened) => Looked::New(Box::new(Candidate { settings, opened })),
            Err(error) => {
                self.refuse(format!("{error:#}"));
                Looked::Refused
            }
        }
    }

    fn refuse(&mut self, message: String) {
        let file = settings::own_files(&self.source.options).pop_first().unwrap_or_default();
        let finding = Diagnostic::new("settings_not_applied", files::at(&file), "", message);
        self.findings = vec![finding.help("the settings that held before go on to hold; mend the file")];
    }

    /// Makes the candidate hold; what has changed, in words. On an error everything stays as it was.
    pub(super) async fn apply(&mut self, candidate: Candidate, reached: &Reached) -> Option<Vec<String>> {
        let Candidate { settings, opened } = candidate;
        if let Err(error) = reached.controls.set(&server::Config::from(&settings)) {
            self.refuse(error.to_string());
            return None;
        }
        let changed = changes(&self.settings, &settings);
        if exposed(self.settings.signing_key.as_ref()) != exposed(settings.signing_key.as_ref())
            && let Err(error) = reached.keys.set_key(reached.store.as_ref(), settings.signing_key.clone()).await
        {
            tracing::error!(%error, "the signing key could not be changed; restart to use the new one");
        }
        reached.engine.set_limits(connect::limits(&settings), settings.retention.clone());
        reached.engine.set_connections(opened.connections.clone());
        if let Err(error) = reached.engine.release_connections().await {
            tracing::warn!(%error, "runs that wait for a connection stay held until the next change");
        }
        if settings.log_level != self.settings.log_level
            && let Err(error) = crate::telemetry::set_level(&settings.log_level)
        {
            tracing::warn!(%error, "the log's level could not be changed");
        }
        self.settings = settings;
        self.opened = opened;
        Some(changed)
    }
}

fn errors<'a>(findings: impl IntoIterator<Item = &'a Diagnostic>) -> Vec<Diagnostic> {
    findings.into_iter().filter(|finding| finding.severity == Severity::Error).cloned().collect()
}

/// Keys that need a restart keep their old value.
fn with_fixed(mut settings: Settings, old: &Settings) -> Settings {
    settings.data.clone_from(&old.data);
    settings.store.clone_from(&old.store);
    settings.public_listen = old.public_listen;
    settings.admin_listen = old.admin_listen;
    settings.log_format.clone_from(&old.log_format);
    settings
}

fn needs_restart(old: &Settings, new: &Settings, loaded: &Loaded) -> Vec<Diagnostic> {
    let keys = [
        ("public.listen", old.public_listen.to_string(), new.public_listen.to_string()),
        ("admin.listen", old.admin_listen.to_string(), new.admin_listen.to_string()),
        ("data", old.data.display().to_string(), new.data.display().to_string()),
        ("log.format", old.log_format.clone(), new.log_format.clone()),
    ];
    let finding = |key: &str, message: String| {
        let place = loaded.place(&format!("/{}", key.replace('.', "/")));
        Diagnostic::new("needs_restart", place, key, message).help("restart leadflow, or take the change back")
    };
    let differ = keys.into_iter().filter(|(_, old, new)| old != new);
    let mut findings: Vec<Diagnostic> = differ
        .map(|(key, old, new)| finding(key, format!("`{key}` is {old} until the next start, not {new}")))
        .collect();
    if !old.store.is_like(&new.store) {
        // The place alone may be the same: a password is never shown.
        let message = format!("`store` is {} as it was until the next start", old.store_place());
        findings.push(finding("store", message));
    }
    findings
}

fn exposed(secret: Option<&crate::secret::Secret>) -> Option<&str> {
    secret.map(crate::secret::Secret::expose)
}

/// What differs, by the names of keys; never a value.
fn changes(old: &Settings, new: &Settings) -> Vec<String> {
    let names: BTreeSet<&String> = old.connections.keys().chain(new.connections.keys()).collect();
    let differs = |name: &&&String| old.connections.get(**name) != new.connections.get(**name);
    let connections: Vec<&str> = names.iter().filter(differs).map(|name| name.as_str()).collect();
    let mut changed = Vec::new();
    if !connections.is_empty() {
        changed.push(format!("connections {}", connections.join(" ")));
    }
    let connectors = changed_connectors(old, new);
    if !connectors.is_empty() {
        changed.push(format!("connectors {}", connectors.join(" ")));
    }
    let secrets = |settings: &Settings| -> Vec<(String, String)> {
        settings.secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned())).collect()
    };
    let blocks = [
        ("public_url", old.public_url != new.public_url),
        ("signing_key", exposed(old.signing_key.as_ref()) != exposed(new.signing_key.as_ref())),
        ("public.trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("admin.token", exposed(old.admin_token.as_ref()) != exposed(new.admin_token.as_ref())),
        ("parameters", old.parameters != new.parameters),
        ("secrets", secrets(old) != secrets(new)),
        ("defaults", old.defaults != new.defaults),
        ("limits", old.limits != new.limits),
        ("retention", old.retention != new.retention),
        ("reload", old.reload != new.reload),
        ("outbound", old.outbound_allow_private != new.outbound_allow_private || old.outbound_ca != new.outbound_ca),
        ("shutdown_grace", old.shutdown_grace != new.shutdown_grace),
        ("log.level", old.log_level != new.log_level),
    ];
    changed.extend(blocks.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()));
    changed
}

/// Connector files that are new, gone or other than they were, by the names of their connectors.
fn changed_connectors<'a>(old: &'a Settings, new: &'a Settings) -> Vec<&'a str> {
    let (old, new) = (old.connectors.files(), new.connectors.files());
    let fresh = new.iter().filter(|file| !old.iter().any(|known| known.is_same(file)));
    let gone = old.iter().filter(|file| !new.iter().any(|known| known.kind() == file.kind()));
    fresh.chain(gone).map(rest::File::kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        folder: tempfile::TempDir,
        hot: Hot,
        now: Micros,
    }

    impl Site {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().expect("temporary folder");
            let path = folder.path().join("leadflow.yaml");
            std::fs::write(&path, text).expect("write");
            let source =
                Source { options: LoadOptions { config: Some(path), ..LoadOptions::default() }, ..Source::default() };
            let settings = settings::load(&source.options, Mode::Serve).expect("reads").settings.expect("checks");
            let opened = connect::open(&settings, None).expect("opens");
            Self { folder, hot: Hot::new(source, settings, opened), now: 0 }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).expect("write");
        }

        fn look(&mut self) -> Looked {
            self.now += micros(self.hot.settings.reload.quiet);
            self.hot.look(self.now)
        }

        /// The candidate, after the two looks that a change takes.
        fn candidate(&mut self) -> Candidate {
            assert!(matches!(self.look(), Looked::Unsettled));
            match self.look() {
                Looked::New(candidate) => *candidate,
                _ => panic!("no new settings: {:?}", self.hot.findings),
            }
        }
    }

    #[test]
    fn a_change_is_taken_when_it_is_at_rest_and_told_by_its_keys() {
        let mut site = Site::new("parameters: { a: 1 }\n");
        assert!(matches!(site.look(), Looked::Same));
        site.write("leadflow.yaml", "parameters: { a: 2 }\nconnections:\n  crm: { type: records }\n");
        let candidate = site.candidate();
        assert_eq!(changes(&site.hot.settings, &candidate.settings), ["connections mail", "parameters"]);
        let (old, new) = (&site.hot.opened.connections, &candidate.opened.connections);
        assert!(Arc::ptr_eq(&old["crm"], &new["crm"]), "what is as it was stays open");
        assert!(site.hot.findings.is_empty());
        assert!(matches!(site.look(), Looked::Same));
    }

    #[test]
    fn a_secret_file_is_part_of_the_settings() {
        let text = "connections:\n  api: { type: http, base_url: 'http://localhost', auth: { type: bearer, token: '${file:token}' } }\n";
        let folder = tempfile::tempdir().expect("temporary folder");
        drop(folder);
        let mut site = Site::new("{}");
        site.write("token", "one");
        site.write("leadflow.yaml", text);
        let first = site.candidate();
        site.hot.settings = first.settings;
        site.write("token", "two");
        let second = site.candidate();
        assert_eq!(changes(&site.hot.settings, &second.settings), ["connections api"]);
        std::fs::remove_file(site.folder.path().join("token")).expect("remove");
        assert!(matches!(site.look(), Looked::Unsettled));
        assert!(matches!(site.look(), Looked::Refused));
        assert_eq!(site.hot.findings[0].code, "missing_file");
        site.write("token", "three");
        site.candidate();
    }

    #[test]
    fn broken_settings_change_nothing_and_are_told() {
        let mut site = Site::new("parameters: { a: 1 }\n");
        site.write("leadflow.yaml", "parameters: { a: 2 }\nlimts: {}\n");
        assert!(matches!(site.look(), Looked::Unsettled));
        assert!(matches!(site.look(), Looked::Refused));
        assert_eq!(site.hot.findings[0].code, "unknown_key");
        assert!(matches!(site.look(), Looked::Same), "told once");
        assert_eq!(site.hot.findings[0].code, "unknown_key", "and still true");
        site.write("leadflow.yaml", "parameters: { a: 3 }\n");
        site.candidate();
        assert!(site.hot.findings.is_empty());
    }

    #[test]
    fn listeners_and_the_data_folder_need_a_restart() {
        let mut site = Site::new("{}");
        let old = site.hot.settings.public_listen;
        site.write(
            "leadflow.yaml",
            "public: { listen: '127.0.0.1:9999' }\ndata: elsewhere\nretention: { failed: 1d }\n",
        );
        let candidate = site.candidate();
        let told: Vec<(&str, &str, u32)> =
            site.hot.findings.iter().map(|finding| (finding.code, &*finding.path, finding.place.line)).collect();
        assert_eq!(told, [("needs_restart", "public.listen", 1), ("needs_restart", "data", 2)]);
        assert_eq!((candidate.settings.public_listen, &candidate.settings.data), (old, &site.hot.settings.data));
        assert_eq!(changes(&site.hot.settings, &candidate.settings), ["retention"]);
    }
}
