use super::*;
use tokio::net::TcpListener;

fn me(id: u64, member: Member) -> Identity {
    Identity { cluster: "here".into(), protocol: "raft".into(), id: NodeId(id), member }
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
    let calls = async move {
        let hello = dial(caller, NodeId(target), &mut a).await?;
        confirm(&mut a).await.map(|()| hello)
    };
    tokio::join!(calls, async move { accept(called, &mut b, |_| Ok(())).await })
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
        (voter(0), 1, voter(1), RefusalCode::OwnId),
    ];
    for (caller, target, called, code) in cases {
        let (a, b) = shake(&caller, target, &called).await;
        assert_eq!(b.unwrap_err().code(), Some(code));
        let Err(HandshakeError::Refused { code: told, text }) = a else { panic!("{code:?}: {a:?}") };
        assert_eq!(told, code);
        assert!(!text.is_empty());
    }
}

/// Who is a voter may not know it yet, or not know the other: nobody is refused for that, and both hear what the other
/// takes itself for.
#[tokio::test]
async fn what_somebody_is_to_the_cluster_is_no_reason_to_refuse() {
    for (caller, of_caller) in [(1, Member::Voter), (3, Member::Observer), (7, Member::Voter)] {
        for of_called in [Member::Voter, Member::Observer] {
            let (a, b) = shake(&me(caller, of_caller), 2, &me(2, of_called)).await;
            assert_eq!((a.unwrap().member, b.unwrap().member), (of_called, of_caller));
        }
    }
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
    for (code, n) in RefusalCode::KNOWN {
        assert_eq!((code.to_wire(), RefusalCode::from_wire(n)), (n, code));
    }
    let all: Vec<u16> = RefusalCode::KNOWN.iter().map(|(_, n)| *n).collect();
    assert_eq!(all, [1, 2, 3, 4, 5, 9, 10, 11]);
    for n in [0, 6, 7, 8, 500] {
        assert_eq!((RefusalCode::from_wire(n), RefusalCode::Other(n).to_wire()), (RefusalCode::Other(n), n));
    }
}

#[test]
fn of_two_voters_one_dials_at_once_and_an_observer_dials_every_voter() {
    let dials = |from, member, to| dials_at_once((NodeId(from), member), (NodeId(to), true), false);
    assert!(dials(2, Member::Voter, 1) && !dials(1, Member::Voter, 2));
    assert!(dials(9, Member::Observer, 1) && dials(1, Member::Observer, 9));
    // Of others that do not vote, an observer its sources.
    let fed = |from, member, source| dials_at_once((NodeId(from), member), (NodeId(8), false), source);
    assert!(fed(9, Member::Observer, true) && !fed(9, Member::Observer, false) && !fed(9, Member::Voter, true));
}
