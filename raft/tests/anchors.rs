//! Every trace event and mark names the rule it comes from, as `raft/<room>#<function>` or `raft/<room>#<function>.<branch>`.
//! The names must be true, and `Subject::marks` must list them all.

use std::collections::BTreeSet;
use std::path::Path;

use common::sim::subject::Subject;
use raft::Raft;

#[test]
fn every_mark_names_a_function_of_its_room_and_is_listed() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut anchors = BTreeSet::new();
    for entry in std::fs::read_dir(&src).expect("the sources are here") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let quoted = text.split('"').filter(|part| part.starts_with("raft/") && part.contains('#'));
        anchors.extend(quoted.map(str::to_owned));
    }
    for anchor in &anchors {
        let (room, place) = anchor.trim_start_matches("raft/").split_once('#').expect("it has both");
        let function = place.split_once('.').map_or(place, |(function, _)| function);
        let text = std::fs::read_to_string(src.join(room).with_extension("rs")).expect("the room exists");
        assert!(text.contains(&format!("fn {function}(")), "{anchor} names no function");
    }
    let listed: BTreeSet<String> = Raft::marks().iter().map(|mark| (*mark).to_owned()).collect();
    assert_eq!(listed.len(), Raft::marks().len(), "a mark is listed twice");
    assert_eq!(listed, anchors, "what is listed (left) and what the sources have (right)");
}
