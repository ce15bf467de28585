//! Every trace event and mark names the rule it comes from, as `zab/<room>#<function>` or `zab/<room>#<function>.<branch>`.
//! The names must be true, and `Subject::marks` must list them all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::sim::subject::Subject;
use zab::Zab;

/// The text of each room: `name.rs` and what is in the folder `name`.
fn rooms() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms: BTreeMap<String, String> = BTreeMap::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources are here") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let named = if folder == src { &path } else { &folder };
            let room = named.file_stem().expect("a name").to_string_lossy().into_owned();
            *rooms.entry(room).or_default() += &std::fs::read_to_string(&path).expect("a source file");
        }
    }
    // The list itself.
    rooms.remove("invariants");
    rooms
}

#[test]
fn every_mark_names_a_function_of_its_room_and_is_listed() {
    let rooms = rooms();
    let all = rooms.values().flat_map(|text| text.split('"'));
    let anchors: BTreeSet<&str> = all.filter(|part| part.starts_with("zab/") && part.contains('#')).collect();
    for anchor in &anchors {
        let (room, place) = anchor.trim_start_matches("zab/").split_once('#').expect("it has both");
        let function = place.split_once('.').map_or(place, |(function, _)| function);
        let text = rooms.get(room).expect("the room exists");
        assert!(text.contains(&format!("fn {function}(")), "{anchor} names no function");
    }
    let listed: BTreeSet<&str> = Zab::marks().iter().copied().collect();
    assert_eq!(listed.len(), Zab::marks().len(), "a mark is listed twice");
    assert_eq!(listed, anchors, "what is listed (left) and what the sources have (right)");
}
