//! Logs: human on a terminal, JSON otherwise, on standard error. No secret, no signature, no lead data.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Overrides `log.level`; takes tracing's directives: `leadflow=debug,hyper=info`.
pub const LEVEL_VARIABLE: &str = "LEADFLOW_LOG";

/// Changes the filter of the logging that runs; `false`: it is gone.
type Change = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

/// Changes the level of the logging that runs. The variable goes on to win.
pub fn set_level(level: &str) -> Result<(), TelemetryError> {
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let filter = filter(level, variable.as_deref())?;
    if let Some(change) = CHANGE.get()
        && !change(filter)
    {
        return Err(TelemetryError::Level(level.to_owned()));
    }
    Ok(())
}

/// Why logging cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// `log.format` is none of the three words.
    #[error("log.format is `{0}`; write auto, human or json")]
    Format(String),
    /// `log.level` or the variable is not understood.
    #[error("log.level (or {LEVEL_VARIABLE}) is `{0}`; write error, warn, info, debug or trace")]
    Level(String),
}

/// Starts logging: `format` is `auto`, `human` or `json`, `level` the level of our own modules; dependencies speak
/// from `warn` up. Also installs a panic hook that logs one line. Logging that already runs stays as it is.
pub fn init(format: &str, level: &str) -> Result<(), TelemetryError> {
    let json = match format {
        "auto" => !std::io::stderr().is_terminal(),
        "human" => false,
        "json" => true,
        other => return Err(TelemetryError::Format(other.to_owned())),
    };
    let variable = std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let filter = filter(level, variable.as_deref())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        let change: Change = Box::new(move |filter| handle.reload(filter).is_ok());
        builder.finish().try_init().map(|()| change)
    } else {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let builder = builder.with_target(false).with_ansi(color).with_filter_reloading();
        let handle = builder.reload_handle();
        let change: Change = Box::new(move |filter| handle.reload(filter).is_ok());
        builder.finish().try_init().map(|()| change)
    };
    if let Ok(change) = started {
        // The first logging is the one that runs.
        let _ = CHANGE.set(change);
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

fn filter(level: &str, variable: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    if let Some(directives) = variable {
        return EnvFilter::try_new(directives).map_err(|_| TelemetryError::Level(directives.to_owned()));
    }
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Err(TelemetryError::Level(level.to_owned()));
    }
    let others = if level == "error" { "error" } else { "warn" };
    EnvFilter::try_new(format!("{others},leadflow={level}")).map_err(|_| TelemetryError::Level(level.to_owned()))
}

/// One line, without a backtrace: naming the symbols costs tens of milliseconds and megabytes that never come back.
/// A message that was put together at run time may quote a lead, so only fixed ones are logged.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&str>().copied().unwrap_or("message withheld, it may quote a lead");
    let thread = std::thread::current();
    let (file, line) = info.location().map_or(("unknown", 0), |location| (location.file(), location.line()));
    tracing::error!(file, line, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ours_and_the_variable_wins() {
        assert_eq!(filter("debug", None).expect("level").to_string(), "leadflow=debug,warn");
        assert_eq!(filter("info", Some("hyper=trace")).expect("directives").to_string(), "hyper=trace");
        assert!(matches!(filter("loud", None), Err(TelemetryError::Level(_))));
        assert!(matches!(filter("info", Some("a=b=c")), Err(TelemetryError::Level(_))));
    }

    #[test]
    fn unknown_formats_are_refused() {
        assert_eq!(init("xml", "info"), Err(TelemetryError::Format("xml".into())));
    }
}
