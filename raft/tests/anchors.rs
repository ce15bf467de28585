//! Every trace event names the rule it comes from, as `raft/<room>#<function>`. The names must be true.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_anchor_names_a_function_of_its_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut anchors = BTreeSet::new();
    for file in std::fs::read_dir(&src).expect("the sources are here") {
        let text = std::fs::read_to_string(file.expect("an entry").path()).expect("a source file");
        let quoted = text.split('"').filter(|part| part.starts_with("raft/") && part.contains('#'));
        anchors.extend(quoted.map(str::to_owned));
    }
    assert!(anchors.len() > 15, "{anchors:?}");
    for anchor in &anchors {
        let (room, function) = anchor.trim_start_matches("raft/").split_once('#').expect("it has both");
        let text = std::fs::read_to_string(src.join(room).with_extension("rs")).expect("the room exists");
        assert!(text.contains(&format!("fn {function}(")), "{anchor} names no function");
    }
}
