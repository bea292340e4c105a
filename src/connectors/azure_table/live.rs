//! What the table service tells: whether it lets us in, and whether a table is there. Tables have no columns.

use super::answer;
use crate::connectors::api::{name, request};
use crate::connectors::live::{Described, EntityShape};
use crate::connectors::refused;
use crate::outbound::{Effect, Reply};
use crate::run::Failure;

/// A signature may allow one table and not the list of tables: that it is known is enough.
pub(super) fn logged_in(reply: &Reply) -> Result<(), Failure> {
    match reply {
        Reply::Http(http) if http.status == 200 && answer::is_list(&http.body) => Ok(()),
        Reply::Http(http) if answer::is_not_allowed(http) => Ok(()),
        Reply::Http(http) if (400..=599).contains(&http.status) => {
            let (code, _) = answer::error(http);
            Err(answer::classed(code, refused("the login", http, Some(code).filter(|code| !code.is_empty()))))
        }
        Reply::Http(_) => {
            Err(Failure::terminal("unexpected_answer", "the login was answered by something else; check `endpoint`"))
        }
        other => crate::connectors::live::logged_in(other),
    }
}

pub(super) fn describe(entity: &str, so_far: &[Reply]) -> Result<Described, Failure> {
    let open = EntityShape { fields: Vec::new(), is_open: true, case_matters: true };
    match so_far {
        [] => {
            let url = format!("{}()?$top=1", name(entity)?);
            Ok(Described::Ask(Effect::Http(request("GET", url, &[], None))))
        }
        [Reply::Http(reply), ..] if answer::error(reply).0 == "TableNotFound" => Ok(Described::NoEntity(Vec::new())),
        [Reply::Http(reply), ..] if reply.status == 200 => Ok(Described::Shape(open)),
        // A signature for writing only may not look.
        [Reply::Http(reply), ..] if answer::is_not_allowed(reply) => Ok(Described::Untold),
        [reply, ..] => logged_in(reply).map(|()| Described::Untold),
    }
}
