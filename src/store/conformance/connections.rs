//! The state of connections.

use super::{ME, all_accepted, at, claimed, joined, queued};
use crate::clock::Micros;
use crate::store::{
    BlockKind, Condition, ConnectionNote, ConnectionState, OTHER_SETTINGS_KEPT, Said, Store, Turn, Word,
};

fn said(code: &str) -> Said {
    Said { code: code.to_owned(), message: "what \"it\" said".to_owned() }
}

fn note(digest: &str, at: Micros, word: Word) -> ConnectionNote {
    ConnectionNote { connection: "crm".to_owned(), settings_digest: digest.to_owned(), at, word }
}

async fn states(store: &dyn Store) -> Vec<ConnectionState> {
    store.connections().await.expect("reads")
}

pub(crate) async fn the_state_of_a_connection_is_kept_by_its_settings(store: &dyn Store) {
    let throttled = Word::Throttled { said: said("http_429"), wait: Some(90_000_000) };
    let notes = vec![
        note("old", at(0), Word::Seen),
        note("old", at(1), throttled),
        note("old", at(2), Word::Credentials { said: said("http_401"), probe: false }),
        note("old", at(3), Word::Worked { began_at: at(1) }),
    ];
    let told = store.note_connections(notes).await.expect("notes");
    let turns: Vec<Turn> = told.iter().map(|one| one.turn).collect();
    assert_eq!(turns, [Turn::None, Turn::Throttled, Turn::Held, Turn::None]);
    let stored = states(store).await;
    assert_eq!(stored, [told[3].state.clone()], "it is read back whole");
    let state = &stored[0];
    assert_eq!((state.seq, state.seen_at, state.paused_until), (4, at(0), at(91)));
    assert_eq!((state.last_ok_at, &state.last_error), (Some(at(3)), &Some((at(2), said("http_401")))));
    let Condition::Blocked(block) = state.condition(at(4)) else { panic!("held") };
    assert_eq!((block.kind, block.code.as_str(), block.since), (BlockKind::Held, "http_401", at(2)));

    let told = store.note_connections(vec![note("new", at(5), Word::Seen)]).await.expect("notes");
    assert_eq!(told[0].state.condition(at(5)), Condition::Well, "new settings begin anew");
    let digests: Vec<String> = states(store).await.into_iter().map(|state| state.settings_digest).collect();
    assert_eq!(digests, ["new", "old"], "the settings seen last come first");
    let later = at(6) + crate::clock::micros(OTHER_SETTINGS_KEPT);
    store.note_connections(vec![note("new", later, Word::Seen)]).await.expect("notes");
    assert_eq!(states(store).await.len(), 1, "old settings are forgotten");
}

pub(crate) async fn notes_from_several_nodes_are_all_counted(store: &dyn Store) {
    let down = |n| note("d", at(n), Word::Down { said: said("connect_failed"), probe: false });
    let writes = (0..20).map(|n| store.note_connections(vec![down(n)])).collect();
    let answers = joined(writes, || ()).await;
    let turns: Vec<Turn> = answers.into_iter().map(|noted| noted.expect("notes")[0].turn).collect();
    assert_eq!(turns.iter().filter(|turn| **turn == Turn::Opened).count(), 1, "it opens once");
    let state = states(store).await.remove(0);
    assert_eq!((state.failures, state.seq, state.times.opened), (20, 20, 1));
}

pub(crate) async fn one_node_probes(store: &dyn Store) {
    let probe = |seq, until| store.probe_connection("crm", "d", seq, until);
    assert_eq!(probe(0, at(9)).await.expect("asks"), None, "nobody knows it");
    let refused = Word::Credentials { said: said("http_401"), probe: false };
    let held = store.note_connections(vec![note("d", at(0), refused)]).await.expect("notes").remove(0).state;
    let won = probe(held.seq, at(60)).await.expect("asks").expect("the probe is ours");
    assert_eq!(won.block.as_ref().expect("held").next_probe_at, at(60));
    assert_eq!(probe(held.seq, at(61)).await.expect("asks"), None, "somebody else has it");
    let worked = note("d", at(40), Word::Worked { began_at: at(35) });
    let healed = store.note_connections(vec![worked]).await.expect("notes").remove(0);
    assert_eq!(healed.turn, Turn::Healed);
    assert_eq!(probe(healed.state.seq, at(70)).await.expect("asks"), None, "there is nothing to find out");
}

pub(crate) async fn what_waits_is_counted_by_lane(store: &dyn Store) {
    let mut mail = queued(5000);
    mail.run.lane = "mail".to_owned();
    all_accepted(store, [queued(0), queued(1), queued(9000), mail]).await;
    claimed(store, "crm", 1, at(3)).await;
    let waiting = store.waiting_runs().await.expect("counts");
    assert_eq!(waiting, [("crm".to_owned(), 2), ("mail".to_owned(), 1)], "{ME} works on one");
}
