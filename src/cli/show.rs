//! How one run looks: who it is, what the lead was, each action with what it did, and what to do about a failure.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::tree::{self, Entry, Row};
use super::{Exit, output};
use crate::actions;
use crate::clock::{self, Clock, Micros, SystemClock};
use crate::diagnostic::codes;
use crate::engine;
use crate::flow::Flow;
use crate::ids::RunId;
use crate::library::load;
use crate::run::blocks::causes;
use crate::run::{RunState, RunStatus, Step, StepKey, StepStatus};
use crate::server::connections::waiting_text;
use crate::server::view;
use crate::settings::Settings;
use crate::store::{ConnectionState, RunRow, StepRow, Store, StoredRun};

/// Characters of inputs and outputs on a line; `--json` has all of them.
const VALUE_CHARS_MAX: usize = 160;

/// Iterations of a long loop that are shown although they ended well.
const ITERATIONS_SHOWN: usize = 1;

/// Actions that are named as not repeated, at most.
const NAMES_SHOWN_MAX: usize = 6;

/// Characters of a digest that are shown.
const DIGEST_CHARS: usize = 8;

/// What the pinned text says of the actions.
struct Pinned {
    digest: String,
    /// `None`: this version cannot read the text.
    flow: Option<Flow>,
}

impl Pinned {
    /// Name and type, in the order of the file.
    fn kinds(&self) -> Vec<(String, String)> {
        let actions = self.flow.iter().flat_map(|flow| &flow.actions);
        actions.map(|action| (action.name.clone(), action.kind.clone())).collect()
    }
}

/// What a run is looked at with.
struct Look<'a> {
    pinned: Option<&'a Pinned>,
    /// The digest of the flow as it is on disk now.
    live: Option<String>,
    states: Vec<ConnectionState>,
    outbox: PathBuf,
    now: Micros,
}

/// Prints `run`; the exit code says whether it ended well.
pub(super) async fn run(settings: &Settings, store: &dyn Store, run: RunId, json: bool) -> anyhow::Result<Exit> {
    let stored = store.run(run).await?.ok_or_else(|| anyhow::anyhow!("there is no run {run}"))?.hidden();
    let pinned = pinned(store, stored.run.text_id).await?;
    let (states, now) = (store.connections().await?, SystemClock.now());
    if json {
        let kinds = pinned.as_ref().map(Pinned::kinds).unwrap_or_default();
        output::json(&view::run_detail(&stored, &kinds, &states, now));
    } else {
        let live = load::load_one(&settings.sources(), &stored.run.flow)
            .ok()
            .and_then(|loaded| loaded.flow.as_ref().map(|flow| flow.digest.clone()));
        let look = Look { pinned: pinned.as_ref(), live, states, outbox: settings.outbox(), now };
        output::answer(&look.text(&stored));
    }
    Ok(exit(stored.run.status))
}

/// A run that failed, timed out or was cancelled is exit code 1.
pub(super) fn exit(status: RunStatus) -> Exit {
    match status {
        RunStatus::Failed | RunStatus::TimedOut | RunStatus::Cancelled => Exit::Bad,
        _ => Exit::Fine,
    }
}

async fn pinned(store: &dyn Store, text_id: i64) -> anyhow::Result<Option<Pinned>> {
    let Some(text) = store.text(text_id).await? else { return Ok(None) };
    // A text that this version cannot read still has a run to show: its actions stand in the order of time then.
    let flow = engine::compile_pinned(&text.bundle, &actions::catalogue()).ok();
    Ok(Some(Pinned { digest: text.digest, flow }))
}

impl Look<'_> {
    fn text(&self, stored: &StoredRun) -> String {
        let run = &stored.run;
        let mut text = self.head(run);
        text.push_str(&lead(run));
        if let Some(reason) = waiting_text(run, &self.states, self.now) {
            let _ = writeln!(text, "waits: {reason}");
        }
        for line in lineage(run) {
            let _ = writeln!(text, "{line}");
        }
        let flow = self.pinned.and_then(|pinned| pinned.flow.as_ref());
        match flow {
            Some(flow) => text.push_str(&self.actions(flow, stored)),
            None => {
                let steps = in_time(&stored.steps);
                let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
                for step in steps {
                    text.push_str(&self.action(run, step, &format!("{:width$}", step.name), ""));
                }
            }
        }
        text.push_str(&advice(run, &stored.steps, flow));
        text
    }

    /// The actions as they stand in the flow.
    fn actions(&self, flow: &Flow, stored: &StoredRun) -> String {
        let row = |step: &'_ StepRow| -> bool { flow.plan.find(&step.name).is_some() };
        let rows = stored.steps.iter().filter(|step| row(step)).map(|step| Row {
            name: &step.name,
            idx: step.idx.clone(),
            status: step.status,
            outcome: step.outcome.as_deref(),
            of: step,
        });
        let entries = tree::entries(flow, rows.collect(), ITERATIONS_SHOWN);
        let label_width = |entry: &Entry<'_, StepRow>| match entry {
            Entry::Action { label, .. } => label.chars().count(),
            Entry::Note(_) => 0,
        };
        let width = entries.iter().map(label_width).max().unwrap_or(0);
        let mut text = String::new();
        for entry in &entries {
            match entry {
                Entry::Note(note) => {
                    let _ = writeln!(text, "        {}", output::Style::stdout().dim(note));
                }
                Entry::Action { label, container, of: Some(step), .. } => {
                    text.push_str(&self.action(&stored.run, step, &format!("{label:width$}"), container));
                }
                Entry::Action { label, .. } => {
                    let _ = writeln!(text, "  {}  {label}", mark(StepStatus::Pending));
                }
            }
        }
        text
    }

    fn head(&self, run: &RunRow) -> String {
        let style = output::Style::stdout();
        let took = output::span(run.finished_at.unwrap_or(self.now) - run.received_at);
        let code = run.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        let short = |digest: &str| format!("{}…", digest.chars().take(DIGEST_CHARS).collect::<String>());
        let version = match (self.pinned, &self.live) {
            (None, _) => String::new(),
            (Some(pinned), Some(live)) if *live == pinned.digest => format!("   flow text {} (live)", short(live)),
            (Some(pinned), Some(live)) => {
                format!("   flow text {} (live: {}, changed since)", short(&pinned.digest), short(live))
            }
            (Some(pinned), None) => format!("   flow text {} (not in the folder now)", short(&pinned.digest)),
        };
        format!(
            "run …{}  {}  {}{code}    {}, {took}{version}\n",
            style.bold(&run.run_id.short()),
            style.bold(&run.flow),
            style.status(run.status.as_str()),
            clock::human(run.received_at),
        )
    }

    fn action(&self, run: &RunRow, step: &StepRow, label: &str, container: &str) -> String {
        let style = output::Style::stdout();
        let took = step.started_at.map(|start| output::span(step.finished_at.unwrap_or(self.now) - start));
        let words =
            [container.to_owned(), tries(step), self.detail(run, step)].into_iter().filter(|part| !part.is_empty());
        let line = format!(
            "  {}  {label}  {:<8} {}",
            style.status(mark(step.status)),
            took.as_deref().unwrap_or("-"),
            words.collect::<Vec<_>>().join("   "),
        );
        let mut text = format!("{}\n", line.trim_end());
        if step.possible_repeat {
            text.push_str("        possible repeat: some try's outcome was never known\n");
        }
        let error = step.io.error.as_ref().filter(|_| step.status != StepStatus::Succeeded);
        if let Some(doc) = error.and_then(|error| codes::find(&error.code)) {
            let _ = writeln!(text, "        fix: {} (leadflow explain {})", doc.summary, doc.code);
        }
        let shown = [("in ", &step.io.inputs), ("out", &step.io.outputs)];
        // What a container decided and gave is told by what stands in it.
        for (word, value) in shown.into_iter().filter(|_| container.is_empty()) {
            if let Some(value) = value.as_ref().filter(|value| !value.is_null()) {
                let line = format!("        {word} {}", output::one_line(&value.to_string(), VALUE_CHARS_MAX));
                let _ = writeln!(text, "{}", style.dim(&line));
            }
        }
        text
    }

    /// What came of it: the record, the mail, the reason.
    fn detail(&self, run: &RunRow, step: &StepRow) -> String {
        let mut words = Vec::new();
        let output_of = |name: &str| step.io.outputs.as_ref().and_then(|outputs| outputs.get(name));
        let said = |name: &str| output_of(name).and_then(Value::as_str).map(|text| output::one_line(text, 120));
        match (&step.io.error, step.status) {
            (_, StepStatus::Succeeded) => {
                words.extend(said("id").map(|id| format!("record {id}")));
                words.extend(said("url"));
                words.extend(said("message_id").map(|id| self.mail(run, &id)));
                words.extend(output_of("status_code").map(|status| format!("status {status}")));
            }
            (Some(error), _) => {
                words.push(format!("{}: {}", error.code, output::one_line(&error.message, 200)));
                words.extend(error.action.as_ref().map(|action| format!("(action {action})")));
            }
            _ => {}
        }
        // A try that is due waits for its connection: what that waits for is told above.
        if let Some(due) = step.due_at.filter(|due| step.status == StepStatus::Waiting && *due > self.now) {
            words.push(format!("(next in {})", output::span(due - self.now)));
        }
        words.extend(step.outcome.as_ref().map(|outcome| format!("({outcome})")));
        words.join(" ")
    }

    /// The file in the outbox, or the Message-ID of a mail that was sent.
    fn mail(&self, run: &RunRow, message_id: &str) -> String {
        let local = message_id.trim_start_matches('<').split('@').next().unwrap_or_default();
        let day = clock::rfc3339(run.received_at);
        let day = day.split('T').next().unwrap_or_default();
        let file = self.outbox.join(day).join(format!("{local}.eml"));
        let is_plain = local.chars().all(|c| c.is_ascii_alphanumeric());
        if is_plain && file.is_file() { format!("mail {}", file.display()) } else { format!("mail {message_id}") }
    }
}

/// `lead  INS "Contoso Backup" from AzureMarketplace   test lead: no`
fn lead(run: &RunRow) -> String {
    let Some(trigger) = &run.trigger else { return String::new() };
    let test = if run.is_test { "yes" } else { "no" };
    let body: Value = serde_json::from_str(trigger.body.trim_start_matches('\u{feff}')).unwrap_or_default();
    let field = |name: &str| {
        let found = body.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()?;
        Some(output::one_line(found, 60))
    };
    let mut words = Vec::new();
    words.extend(field("ActionCode"));
    words.extend(field("OfferTitle").map(|title| format!("\"{title}\"")));
    words.extend(field("LeadSource").map(|source| format!("from {source}")));
    if words.is_empty() {
        words.push(format!("{} with {} bytes", trigger.method, trigger.body.len()));
    }
    format!("lead  {}   test lead: {test}\n", words.join(" "))
}

fn lineage(run: &RunRow) -> Vec<String> {
    let mut lines = Vec::new();
    let trigger = run.trigger.iter();
    lines.extend(
        trigger.clone().filter_map(|trigger| trigger.item).map(|item| format!("item {} of its request", item + 1)),
    );
    lines.extend(trigger.flat_map(|trigger| &trigger.notes).map(|note| {
        let words = format!("{} {}", note.pointer, note.message);
        format!("note: {}", output::one_line(words.trim(), VALUE_CHARS_MAX))
    }));
    lines.extend(run.duplicate_of.map(|first| format!("duplicate of run …{}", first.short())));
    lines.extend(run.origin_run.map(|origin| format!("resubmit of run …{}", origin.short())));
    if run.cancel && !run.status.is_final() {
        lines.push("somebody asked to cancel it".into());
    }
    lines
}

/// Steps of a text that no longer compiles: in the order of time.
fn in_time(steps: &[StepRow]) -> Vec<&StepRow> {
    let mut ordered: Vec<&StepRow> = steps.iter().collect();
    ordered.sort_by_key(|step| (step.started_at, step.finished_at));
    ordered
}

/// Four characters: what happened.
fn mark(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Succeeded => "ok  ",
        StepStatus::Failed => "FAIL",
        StepStatus::TimedOut => "LATE",
        StepStatus::Skipped => "skip",
        StepStatus::Cancelled => "stop",
        StepStatus::Running => "now ",
        StepStatus::Waiting => "wait",
        StepStatus::Pending => "-   ",
    }
}

/// `3 tries (http_503, http_503, succeeded)`
fn tries(step: &StepRow) -> String {
    let tries = &step.io.tries;
    match tries.len() {
        0 if step.attempt <= 1 => String::new(),
        0 => format!("{} tries", step.attempt),
        1 => "1 try".into(),
        number => {
            let outcomes: Vec<&str> = tries.iter().map(|try_| try_.outcome.as_str()).collect();
            format!("{} tries ({})", number.max(step.attempt as usize), outcomes.join(", "))
        }
    }
}

/// How to repeat what failed.
fn advice(run: &RunRow, steps: &[StepRow], flow: Option<&Flow>) -> String {
    if run.status == RunStatus::Held && run.code.as_deref() == Some("unknown_outcome") {
        return undecided(run, steps);
    }
    if !matches!(run.status, RunStatus::Failed | RunStatus::TimedOut | RunStatus::Cancelled) {
        return String::new();
    }
    let id = run.run_id.short();
    let Some(failed) = failed_action(steps, flow) else {
        return format!("again: leadflow runs resubmit {id}\n");
    };
    let standing = view::standing(steps);
    let is_leaf =
        |name: &str| flow.is_none_or(|flow| flow.actions.iter().all(|one| one.name != name || one.control.is_none()));
    let mut done: Vec<&str> = standing
        .iter()
        .filter(|(name, status)| *status == StepStatus::Succeeded && is_leaf(name))
        .map(|(name, _)| *name)
        .collect();
    let more = done.len().saturating_sub(NAMES_SHOWN_MAX);
    done.truncate(NAMES_SHOWN_MAX);
    let kept = match done.as_slice() {
        [] => String::new(),
        [one] => format!("   ({one} is not repeated)"),
        many if more == 0 => format!("   ({} are not repeated)", many.join(", ")),
        many => format!("   ({} and {more} more are not repeated)", many.join(", ")),
    };
    format!("again from the failed action: leadflow runs resubmit {id} --from {failed}{kept}\n")
}

/// What to do about a run that stands because nobody knows whether an action was done.
fn undecided(run: &RunRow, steps: &[StepRow]) -> String {
    let id = run.run_id.short();
    let open = steps.iter().find(|step| step.status == StepStatus::Waiting && step.possible_repeat);
    let Some(open) = open else { return format!("not to be done again: leadflow runs cancel {id}\n") };
    format!(
        "if it was not done, do it again: leadflow runs resubmit {id} --from {}\nif it was done: leadflow runs cancel {id}\n",
        open.name
    )
}

/// The action to start from: the first failure that nobody handled, inside the containers that it made fail; else the
/// first action that did not end well.
fn failed_action<'a>(steps: &'a [StepRow], flow: Option<&'a Flow>) -> Option<&'a str> {
    let bad =
        |step: &&StepRow| matches!(step.status, StepStatus::Failed | StepStatus::TimedOut | StepStatus::Cancelled);
    let unhandled = flow.and_then(|flow| {
        let mut run = RunState::default();
        for step in steps.iter().filter(|step| step.idx.is_empty()) {
            let known = Step { status: step.status, outcome: step.outcome.clone(), ..Step::default() };
            run.steps.extend(flow.plan.find(&step.name).map(|node| (StepKey::top(node), known)));
        }
        let causes = causes(&flow.plan, &run, flow.plan.block(None, 0), "");
        let name = &flow.plan.nodes[*causes.first()?].name;
        steps.iter().find(|step| step.idx.is_empty() && step.name == *name)
    });
    let step = unhandled.or_else(|| in_time(steps).into_iter().find(bad))?;
    let inside = step.io.error.as_ref().and_then(|error| error.action.as_deref());
    Some(inside.unwrap_or(&step.name))
}
