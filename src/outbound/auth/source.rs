//! One source of tokens: what is kept, who fetches, and what those who wait get.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::super::http::{HttpClientSettings, HttpTransport, Target, date};
use super::super::{HttpBody, HttpReply};
use super::answer::{self, Granted};
use super::grant::Grant;
use super::held::Held;
use super::settings::TokenSettings;
use super::{TokenKeeper, sha256};
use crate::clock::{Clock as _, MICROS_PER_SEC, Micros, SystemClock};
use crate::run::{Class, Failure};
use crate::secret::Secret;

/// One call of a token endpoint as a whole.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer of a token endpoint, in bytes, if `limits.response` does not say less.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// From this difference to the server's clock on, a refused statement is made once more with the server's time.
const SKEW_MIN: Micros = 30 * MICROS_PER_SEC;

/// From this difference on, people are told that the clock is wrong.
const SKEW_WARN: Micros = 5 * 60 * MICROS_PER_SEC;

/// A token, and which one it is.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// What is shown to the other side.
    pub token: Secret,
    /// For [`TokenSource::refused`].
    pub generation: u64,
}

/// A source of tokens. See the promises of the module above.
pub struct TokenSource {
    grant: Grant,
    /// Where the newest refresh token is kept, and under which key.
    pub(super) keeper: Option<(Arc<dyn TokenKeeper>, String)>,
    client: HttpTransport,
    state: Mutex<State>,
    /// Held by who asks the endpoint.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) held: Option<Held>,
    /// The generation of the newest token.
    generation: u64,
    /// Calls that have ended.
    ended: u64,
    /// How the last call failed; `None`: it did not.
    failed: Option<Failure>,
    /// How far the server's clock is ahead of ours.
    ahead: Micros,
    /// The newest refresh token that this process got.
    refresh_token: Option<Secret>,
    /// That one is not on disk yet.
    pub(super) unkept: bool,
}

impl State {
    fn fresh(&self) -> Option<Ticket> {
        self.held.as_ref().filter(|held| held.is_fresh(Instant::now())).map(ticket)
    }

    fn valid(&self) -> Option<Ticket> {
        self.held.as_ref().filter(|held| held.is_valid(Instant::now())).map(ticket)
    }

    /// What a call that ended while somebody waited means for who waited; `None`: ask again.
    fn shared(&self) -> Option<Result<Ticket, Failure>> {
        match &self.failed {
            None => self.held.as_ref().map(|held| Ok(ticket(held))),
            Some(failure) => Some(self.valid().ok_or_else(|| failure.clone())),
        }
    }
}

fn ticket(held: &Held) -> Ticket {
    Ticket { token: held.token.clone(), generation: held.generation }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl TokenSource {
    /// The error names the setting, never its value.
    pub(super) fn new(
        settings: TokenSettings,
        client: &HttpClientSettings,
        keeper: Option<Arc<dyn TokenKeeper>>,
    ) -> Result<Self, String> {
        let first = match &settings {
            TokenSettings::Oauth2RefreshToken(own) => Some((own.client_id.clone(), own.refresh_token.clone())),
            TokenSettings::Oauth2ClientCredentials(_) | TokenSettings::JwtBearer(_) => None,
        };
        let grant = Grant::new(settings)?;
        let keeper = first.zip(keeper).map(|((id, first), keeper)| {
            let place = grant.endpoint.as_ref().map_or("", Url::as_str);
            let digest = sha256(&[place.as_bytes(), id.as_bytes(), first.expose().trim().as_bytes()]);
            (keeper, format!("refresh_token/{}", hex::encode(digest)))
        });
        let mut client = client.clone();
        client.response_bytes_max = client.response_bytes_max.min(ANSWER_BYTES_MAX);
        let client = HttpTransport::anonymous(&client)?;
        Ok(Self { grant, keeper, client, state: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// A token that the other side should take. Whoever calls while a call to the endpoint is in flight shares its
    /// result.
    pub async fn token(self: &Arc<Self>) -> Result<Ticket, Failure> {
        let seen = {
            let state = self.state();
            if let Some(ticket) = state.fresh() {
                return Ok(ticket);
            }
            state.ended
        };
        // A task of its own: who gives up waiting takes no answer from the others, and no new refresh token is lost.
        let source = Arc::clone(self);
        let asked = tokio::spawn(async move { source.take_turn(seen).await }).await;
        asked.unwrap_or_else(|_| Err(Failure::retryable("token_unavailable", "leadflow is stopping; nothing was sent")))
    }

    /// The other side refused the token of this generation: it is not used again.
    pub fn refused(&self, generation: u64) {
        let mut state = self.state();
        if state.held.as_ref().is_some_and(|held| held.generation == generation) {
            state.held = None;
        }
    }

    async fn take_turn(&self, seen: u64) -> Result<Ticket, Failure> {
        let _turn = self.turn.lock().await;
        {
            let state = self.state();
            if let Some(ticket) = state.fresh() {
                return Ok(ticket);
            }
            if state.ended != seen
                && let Some(shared) = state.shared()
            {
                return shared;
            }
        }
        let fetched = self.fetch().await;
        self.settle(fetched)
    }

    fn settle(&self, fetched: Result<(Instant, Granted), Failure>) -> Result<Ticket, Failure> {
        let mut state = self.state();
        state.ended += 1;
        match fetched {
            Ok((asked_at, granted)) => {
                state.generation += 1;
                let held = Held::new(granted.token, state.generation, asked_at, granted.life);
                let ticket = ticket(&held);
                (state.held, state.failed) = (Some(held), None);
                Ok(ticket)
            }
            Err(failure) => {
                state.failed = Some(failure.clone());
                let valid = state.valid().ok_or_else(|| failure.clone());
                if valid.is_ok() {
                    tracing::warn!(%failure, "a token cannot be replaced now; the one that is there is used to its end");
                    state.held.as_mut().into_iter().for_each(|held| held.put_off(Instant::now()));
                }
                valid
            }
        }
    }

    /// One token; more than one call only where the first answer says what was wrong with the request.
    async fn fetch(&self) -> Result<(Instant, Granted), Failure> {
        let used = self.newest().await?;
        let ahead = self.state().ahead;
        let mut granted = self.call(used.as_ref()).await;
        if is_refusal(&granted) {
            let skewed = (self.state().ahead - ahead).abs() >= SKEW_MIN;
            if self.grant.tells_time() && skewed {
                granted = self.call(None).await;
            } else if let Some(newer) = self.newer(used.as_ref()).await {
                granted = self.call(Some(&newer)).await;
            }
        }
        if let Ok((_, Granted { refresh_token: Some(token), .. })) = &granted {
            self.keep(token.clone()).await;
        }
        granted
    }

    async fn call(&self, refresh_token: Option<&Secret>) -> Result<(Instant, Granted), Failure> {
        let unset = |why| Failure::credentials("bad_credentials", format!("`auth` of the connection: {why}"));
        let endpoint = self.grant.endpoint.as_ref().ok_or_else(|| unset("a variable of it is not set"))?;
        let now = SystemClock.now().saturating_add(self.state().ahead);
        let ask = self.grant.ask(refresh_token, now).map_err(unset)?;
        let headers = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")];
        let mut target = Target::fixed("POST", endpoint.clone(), &headers);
        target.secret_headers.extend(ask.authorization.map(|value| ("Authorization".to_owned(), value)));
        let body = HttpBody::Text(ask.form.expose().to_owned());
        let asked_at = Instant::now();
        let answered = tokio::time::timeout(TOKEN_TIMEOUT, self.client.call(&target, Some(&body))).await;
        let reply = match answered {
            Ok(reply) => reply.map_err(|failure| answer::unanswered(failure, self.host()))?,
            Err(_) => return Err(answer::unanswered(Failure::unknown("timeout", ""), self.host())),
        };
        let granted = answer::read(&reply, self.host(), self.server_time(&reply))?;
        Ok((asked_at, granted))
    }

    /// The server's time, learnt from its answer.
    fn server_time(&self, reply: &HttpReply) -> Micros {
        let now = SystemClock.now();
        let Some(theirs) = date(&reply.headers) else { return now };
        let mut state = self.state();
        let before = std::mem::replace(&mut state.ahead, theirs - now);
        if state.ahead.abs() >= SKEW_WARN && before.abs() < SKEW_WARN {
            let seconds = state.ahead / MICROS_PER_SEC;
            tracing::warn!(host = self.host(), seconds, "the clock of this machine is not that of the token endpoint");
        }
        theirs
    }

    /// The refresh token to use. Other nodes may have got newer ones than this process.
    async fn newest(&self) -> Result<Option<Secret>, Failure> {
        let (own, unkept) = {
            let state = self.state();
            (state.refresh_token.clone(), state.unkept)
        };
        let Some((keeper, key)) = &self.keeper else { return Ok(own) };
        match (own, unkept) {
            (Some(own), true) => {
                self.keep(own.clone()).await;
                Ok(Some(own))
            }
            _ => keeper.newest(key).await.map_err(|why| {
                let message = format!("the newest refresh token cannot be read now ({why}); nothing was sent");
                Failure::retryable("token_unavailable", message)
            }),
        }
    }

    /// A refresh token that another node kept while the one that was `used` was on its way.
    async fn newer(&self, used: Option<&Secret>) -> Option<Secret> {
        // That it cannot be read now changes nothing: the refusal stands.
        let newest = if self.grant.refreshes() { self.newest().await.ok().flatten()? } else { return None };
        (used.map(Secret::expose) != Some(newest.expose())).then_some(newest)
    }

    /// Keeps a new refresh token: in memory, and durably if that is possible now; else it is tried again next time.
    async fn keep(&self, token: Secret) {
        self.state().refresh_token = Some(token.clone());
        let Some((keeper, key)) = &self.keeper else { return };
        let kept = keeper.keep(key, &token).await;
        self.state().unkept = kept.is_err();
        if let Err(why) = kept {
            tracing::error!(
                host = self.host(),
                why,
                "the new refresh token is in memory only: it cannot be stored now"
            );
        }
    }

    fn host(&self) -> &str {
        self.grant.endpoint.as_ref().and_then(Url::host_str).unwrap_or_default()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_refusal(granted: &Result<(Instant, Granted), Failure>) -> bool {
    granted.as_ref().is_err_and(|failure| failure.class == Class::Credentials)
}
