use super::*;
use tokio::net::TcpListener;

fn me(id: u64, member: Member) -> Identity {
    let voters = Voters::new([1, 2, 3].map(NodeId));
    Identity { cluster: "here".into(), protocol: "raft".into(), id: NodeId(id), member, voters }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

type Outcome = Result<PeerHello, HandshakeError>;

async fn shake(caller: &Identity, target: u64, called: &Identity) -> (Outcome, Outcome) {
    let (mut a, mut b) = pair().await;
    // Each side drops its stream when it is done, as the real callers do.
    tokio::join!(async move { dial(caller, NodeId(target), &mut a).await }, async move {
        accept(called, &mut b, |_| Ok(())).await
    })
}

#[tokio::test]
async fn both_learn_who_the_other_is() {
    let (a, b) = shake(&me(3, Member::Voter), 1, &me(1, Member::Voter)).await;
    assert_eq!((a.unwrap().from, b.unwrap().from), (NodeId(1), NodeId(3)));
    let (a, b) = shake(&me(9, Member::Observer), 3, &me(3, Member::Voter)).await;
    assert_eq!((a.unwrap().member, b.unwrap().member), (Member::Voter, Member::Observer));
}

/// Every mismatch ends in its own error on the refusing side, and its code on the other.
#[tokio::test]
async fn mismatches_are_named_on_both_sides() {
    let voter = |id| me(id, Member::Voter);
    let cases = [
        (Identity { cluster: "there".into(), ..voter(3) }, 1, voter(1), RefusalCode::Cluster),
        (Identity { protocol: "zab".into(), ..voter(3) }, 1, voter(1), RefusalCode::Protocol),
        (voter(3), 2, voter(1), RefusalCode::Target),
        (voter(1), 1, voter(1), RefusalCode::OwnId),
        (voter(7), 1, voter(1), RefusalCode::NotAVoter),
        (me(3, Member::Observer), 1, voter(1), RefusalCode::Member),
        (voter(1), 3, voter(3), RefusalCode::Direction),
    ];
    for (caller, target, called, code) in cases {
        let (a, b) = shake(&caller, target, &called).await;
        assert_eq!(b.unwrap_err().code(), Some(code));
        let Err(HandshakeError::Refused { code: told, text }) = a else { panic!("{code:?}: {a:?}") };
        assert_eq!(told, code);
        assert!(!text.is_empty());
    }
    // The dialler refuses too: n1 here thinks it is an observer.
    let (a, b) = shake(&voter(3), 1, &me(1, Member::Observer)).await;
    assert!(a.is_err() && b.is_err());
}

#[tokio::test]
async fn a_caller_refuses_a_node_that_is_not_what_it_dialled() {
    let (mut a, mut b) = pair().await;
    let caller = me(3, Member::Voter);
    let impostor = async move {
        read(&mut b).await.unwrap();
        let mut hello = me(2, Member::Voter).hello(NodeId(3));
        hello.member = Member::Voter;
        write(&mut b, Kind::Welcome, &hello).await.unwrap();
        read(&mut b).await
    };
    let (refused, told) = tokio::join!(dial(&caller, NodeId(1), &mut a), impostor);
    assert!(matches!(refused, Err(HandshakeError::Target { asked: NodeId(1), found: NodeId(2) })));
    assert!(matches!(told, Err(HandshakeError::Refused { code: RefusalCode::Target, .. })));
}

#[tokio::test]
async fn other_versions_are_told_so() {
    let (mut a, mut b) = pair().await;
    a.write_all(&message(VERSION + 1, Kind::PeerHello as u8, b"who knows what")).await.unwrap();
    let called = me(1, Member::Voter);
    let error = accept(&called, &mut b, |_| Ok(())).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Version { ours: VERSION, theirs } if theirs == VERSION + 1));
    assert!(matches!(read(&mut a).await, Err(HandshakeError::Refused { code: RefusalCode::Version, .. })));
}

#[tokio::test]
async fn strangers_are_recognised_by_their_first_byte() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16", b"DUETwar"] {
        let (mut a, mut b) = pair().await;
        a.write_all(bytes).await.unwrap();
        let error = accept(&me(1, Member::Voter), &mut b, |_| Ok(())).await.unwrap_err();
        assert!(matches!(&error, HandshakeError::Stranger(_)), "{error}");
        drop(b);
        assert!(matches!(a.read(&mut [0; 64]).await, Ok(0) | Err(_)), "no answer");
    }
}

#[tokio::test]
async fn damage_excess_and_wrong_ports_are_refused() {
    let hello = postcard::to_stdvec(&me(3, Member::Voter).hello(NodeId(1))).unwrap();
    let mut damaged = message(VERSION, Kind::PeerHello as u8, &hello);
    damaged[20] ^= 1;
    let mut trailing = hello.clone();
    trailing.push(0);
    let client = postcard::to_stdvec(&ClientHello { cluster: String::new() }).unwrap();
    let cases = [
        (damaged, RefusalCode::Malformed),
        (message(VERSION, Kind::PeerHello as u8, &trailing), RefusalCode::Malformed),
        (message(VERSION, Kind::PeerHello as u8, &[0; MAX_PAYLOAD + 1]), RefusalCode::Malformed),
        (message(VERSION, 77, &hello), RefusalCode::Malformed),
        (message(VERSION, Kind::Confirm as u8, &[]), RefusalCode::Malformed),
        (message(VERSION, Kind::ClientHello as u8, &client), RefusalCode::WrongPort),
    ];
    for (bytes, code) in cases {
        let (mut a, mut b) = pair().await;
        a.write_all(&bytes).await.unwrap();
        let error = accept(&me(1, Member::Voter), &mut b, |_| Ok(())).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        let Err(HandshakeError::Refused { code: told, .. }) = read(&mut a).await else { panic!("{code:?}") };
        assert_eq!(told, code);
    }
}

#[test]
fn codes_keep_their_numbers() {
    for code in RefusalCode::KNOWN {
        assert_eq!(RefusalCode::from_wire(code.to_wire()), code);
    }
    assert_eq!((RefusalCode::Version.to_wire(), RefusalCode::Malformed.to_wire()), (1, 11));
    assert_eq!(RefusalCode::from_wire(0), RefusalCode::Other(0));
    assert_eq!(RefusalCode::from_wire(500), RefusalCode::Other(500));
}

#[test]
fn of_each_pair_exactly_one_dials() {
    let all = [(1, Member::Voter), (2, Member::Voter), (8, Member::Observer), (9, Member::Observer)];
    for (a, am) in all {
        for (b, bm) in all.iter().copied().filter(|(b, _)| *b != a) {
            let ways = [dials(NodeId(a), am, NodeId(b), bm), dials(NodeId(b), bm, NodeId(a), am)];
            let links = ways.iter().filter(|w| **w).count();
            assert_eq!(links, usize::from(am == Member::Voter || bm == Member::Voter), "{a} {b}");
        }
    }
}
