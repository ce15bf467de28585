//! Whole ensembles over the testbed.

use common::protocol::Protocol;
use common::testbed::{Testbed, agree};
use common::types::{Micros, NodeId};
use zab::{Config, Zab};

const A: NodeId = NodeId(1);

fn ms(n: u64) -> Micros {
    Micros::from_millis(n)
}

#[test]
fn three_nodes_elect_and_commit() {
    let mut bed: Testbed<Zab> = Testbed::new(3, 1, Config::default());
    bed.start_transcript();
    assert!(bed.advance_until(ms(500), |b| b.leader().is_some()), "{}", bed.take_transcript());
    let leader = bed.leader().unwrap();
    bed.propose(leader, &["a", "b"]).unwrap();
    bed.advance(ms(200));
    println!("{}", bed.take_transcript());
    for id in bed.ids() {
        assert_eq!(bed.node(id).history.len(), 2, "{id} {:?}", bed.core(id).status());
    }
    agree(&bed).unwrap();
}

#[test]
fn one_node_is_an_ensemble() {
    let mut bed: Testbed<Zab> = Testbed::new(1, 0, Config::default());
    bed.advance(ms(10));
    bed.propose(A, &["a"]).unwrap();
    bed.settle();
    assert_eq!(bed.node(A).history.len(), 1);
}
