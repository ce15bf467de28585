-------------------------------- MODULE Zab --------------------------------
(* ZAB as `zab/src` does it: Zab 1.0 with the learner's last zxid in          *)
(* FOLLOWERINFO already. README.md says what is left out and why.             *)
(*                                                                            *)
(* A node's memory runs ahead of its disk: `mem` is what it has given to the  *)
(* disk, `disk` is what a crash leaves. A learner and its leader talk in an   *)
(* attempt, which begins with FOLLOWERINFO and has a FIFO queue each way.     *)
(* Either end may give up at any time, alone; what was under way to it is     *)
(* then lost, while the other end still takes what was under way to it. That  *)
(* is all there is to broken sessions, time-outs and bad elections here.      *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Server,      \* the voters; at least two
    Nobody,      \* what a node without a leader follows
    MaxEpoch, MaxTxns, MaxCrashes, MaxBreaks,      \* bounds of the model
    EpochStep,   \* a leader may choose an epoch up to so much above all it heard of
    EarlyFollow, \* a node may follow one that does not lead: not yet, or not any more
    Start,       \* "empty", or a later state from which to go on; see below
    Bug          \* "none", or the rule that is broken; all of them are marked below

VARIABLES
    mem,         \* node -> [acc, cur, log]: acceptedEpoch, currentEpoch, history, as last given to the disk
    disk,        \* node -> the same, durable
    node,        \* node -> [role, stage, leader, epoch, com, peers]: what a crash takes away
    toLeader,    \* learner -> leader -> messages
    toLearner,   \* learner -> messages from the leader of its attempt
    seen,        \* history variables, for the invariants only
    spent        \* how much of the bounds is used up

vars == <<mem, disk, node, toLeader, toLearner, seen, spent>>

------------------------------------------------------------------------------
(* Logs. An entry is <<epoch, counter, who broadcast it>>; a zxid its first two. *)

Zero == <<0, 0>>
Zxid(entry) == <<entry[1], entry[2]>>
Last(log) == IF log = <<>> THEN Zero ELSE Zxid(log[Len(log)])
Less(a, b) == a[1] < b[1] \/ (a[1] = b[1] /\ a[2] < b[2])
Upto(log, n) == SubSeq(log, 1, n)
Prefix(a, b) == Len(a) <= Len(b) /\ Upto(b, Len(a)) = a
Min(a, b) == IF a < b THEN a ELSE b
Max(a, b) == IF a < b THEN b ELSE a
MaxOf(S) == CHOOSE x \in S : \A y \in S : y <= x

(* How many entries of a log are not above this zxid: the length of what stays. *)
Floor(log, zxid) == Cardinality({k \in 1..Len(log) : ~Less(zxid, Zxid(log[k]))})

(* How much two logs have in common. *)
Common(a, b) == MaxOf({0} \cup {k \in 1..Min(Len(a), Len(b)) : Upto(a, k) = Upto(b, k)})

(* Whose history is to be preferred: currentEpoch first, then the last zxid. *)
Better(cur1, last1, cur2, last2) ==
    IF Bug = "zxid-first"
    THEN Less(last2, last1) \/ (last1 = last2 /\ cur1 > cur2)
    ELSE cur1 > cur2 \/ (cur1 = cur2 /\ Less(last2, last1))

IsQuorum(S) == 2 * Cardinality(S) > Cardinality(Server)

------------------------------------------------------------------------------
(* A node, and what a leader knows of a learner.                              *)

NoPeer == [p |-> "none", acc |-> 0, cur |-> 0, last |-> Zero, counted |-> FALSE, acked |-> 0]
NoPeers == [s \in Server |-> NoPeer]
Idle(com) == [role |-> "Looking", stage |-> "-", leader |-> Nobody, epoch |-> 0, com |-> com, peers |-> NoPeers]
Dead == [Idle(0) EXCEPT !.role = "Down"]

Level(acc, cur, log) == [acc |-> acc, cur |-> cur, log |-> log]
Reign(e, by, hist) == [e |-> e, by |-> by, hist |-> hist, whole |-> TRUE]

Begin(memory, store, nodes, reigns, proposed, delivered) ==
    /\ mem = memory /\ disk = store /\ node = nodes
    /\ toLeader = [f \in Server |-> [l \in Server |-> <<>>]]
    /\ toLearner = [f \in Server |-> <<>>]
    /\ seen = [reigns |-> reigns, est |-> {[e |-> r.e, by |-> r.by] : r \in reigns},
               count |-> [e \in 1..MaxEpoch |-> IF e = 1 THEN proposed ELSE 0], delivered |-> delivered]
    /\ spent = [crashes |-> 0, breaks |-> 0]

AllIdle == [i \in Server |-> Idle(0)]
Either(i, a, yes, no) == IF i = a THEN yes ELSE no

(* Where a model begins. All others are reached from "empty" and let a model see further with the same bounds.
   "established": `a` leads epoch 1 with `b`; `c` was never there.
   "committed": after that, what `a` proposed was committed with `b`; now all are without a leader.
   "pending": all have epoch 1, `a` has proposed what is only in its own memory; now all are without a leader.
   "diverged": that is on its disk, and `b` and `c` have established epoch 2 without it. *)
Init == \E a, b \in Server :
    LET x == <<<<1, 1, a>>>>
        first == Reign(1, a, <<>>)
        pair(log) == [i \in Server |-> IF i \in {a, b} THEN Level(1, 1, log) ELSE Level(0, 0, <<>>)]
        one(e, log) == [i \in Server |-> Either(i, a, Level(1, 1, log), Level(e, e, <<>>))]
        leads == [Idle(0) EXCEPT !.role = "Leading", !.stage = "Broadcast", !.epoch = 1, !.peers = [NoPeers EXCEPT ![b].p = "Synced"]]
        follows == [Idle(0) EXCEPT !.role = "Following", !.stage = "Broadcast", !.epoch = 1, !.leader = a]
    IN
    /\ a # b
    /\ CASE Start = "empty" ->
              LET none == [i \in Server |-> Level(0, 0, <<>>)] IN Begin(none, none, AllIdle, {}, 0, <<>>)
         [] Start = "established" ->
              Begin(pair(<<>>), pair(<<>>), [i \in Server |-> Either(i, a, leads, Either(i, b, follows, Idle(0)))], {first}, 0, <<>>)
         [] Start = "committed" -> Begin(pair(x), pair(x), AllIdle, {first}, 1, x)
         [] Start = "pending" -> Begin(one(1, x), one(1, <<>>), AllIdle, {first}, 1, <<>>)
         [] Start = "diverged" -> Begin(one(2, x), one(2, x), AllIdle, {first, Reign(2, b, <<>>)}, 1, <<>>)

Leads(i) == node[i].role = "Leading"
Follows(i) == node[i].role = "Following"

(* R3: whether all that a node gave to its disk is durable. *)
AtRest(i) == mem[i] = disk[i]

Infos(queue) == {k \in 1..Len(queue) : queue[k].t = "FOLLOWERINFO"}

(* Whether what `l` sends to `f` still reaches it: `f` is in the very attempt that `l` knows, which it is not if it gave up,
   also when it has come back since and says so later in the queue. *)
Live(l, f, queue) == Follows(f) /\ node[f].leader = l /\ Infos(queue) = {}

(* `messages` says what each learner is sent; what is sent to an attempt that is over is lost. *)
Sent(l, queues, messages) ==
    [f \in Server |-> IF messages[f] # <<>> /\ Live(l, f, queues[f][l])
                      THEN toLearner[f] \o messages[f] ELSE toLearner[f]]

Say(f, message) == [toLeader EXCEPT ![f][node[f].leader] = Append(@, message)]
Popped(l, f) == [toLeader EXCEPT ![f][l] = Tail(@)]
Heard(l, f, type) == Leads(l) /\ toLeader[f][l] # <<>> /\ Head(toLeader[f][l]).t = type
Told(f, type) == Follows(f) /\ toLearner[f] # <<>> /\ Head(toLearner[f]).t = type

------------------------------------------------------------------------------
(* Phase 0. No safety rests on the election, so there is none: any node may    *)
(* begin to lead, any may follow any, at any time when it is at rest (R3).     *)

MayChoose(i) == node[i].role = "Looking" /\ (AtRest(i) \/ Bug = "no-freeze")

Lead(i) ==
    /\ MayChoose(i)
    /\ node' = [node EXCEPT ![i] = [@ EXCEPT !.role = "Leading", !.stage = "Discovery"]]
    /\ UNCHANGED <<mem, disk, toLeader, toLearner, seen, spent>>

(* FOLLOWERINFO: acceptedEpoch, and, which is our change, currentEpoch and the last zxid. *)
Follow(f, l) ==
    /\ MayChoose(f) /\ l # f
    /\ Leads(l) \/ EarlyFollow
    /\ node' = [node EXCEPT ![f] = [@ EXCEPT !.role = "Following", !.stage = "Info", !.leader = l]]
    /\ toLeader' = [toLeader EXCEPT ![f][l] = Append(@,
           [t |-> "FOLLOWERINFO", acc |-> mem[f].acc, cur |-> mem[f].cur, last |-> Last(mem[f].log)])]
    /\ UNCHANGED <<mem, disk, toLearner, seen, spent>>

------------------------------------------------------------------------------
(* The end of a role, and of a life.                                          *)

(* Of what is under way to a node that gives up, it keeps only who wants to follow it. *)
Knocks(i) == [f \in Server |-> [toLeader[f] EXCEPT ![i] = SelectSeq(@, LAMBDA m : m.t = "FOLLOWERINFO")]]

Quits(i) ==
    /\ node' = [node EXCEPT ![i] = Idle(@.com)]
    /\ toLearner' = [toLearner EXCEPT ![i] = <<>>]

(* Nobody is at the other end any more. Such an end is free; others are what the bound on breaks counts. *)
Orphan(i) ==
    \/ Leads(i) /\ \A f \in Server : ~(Follows(f) /\ node[f].leader = i)
    \/ Follows(i) /\ LET l == node[i].leader IN
           ~Leads(l) \/ (node[l].peers[i].p = "none" /\ Infos(toLeader[i][l]) = {})

GiveUp(i) ==
    /\ Leads(i) \/ Follows(i)
    /\ Quits(i)
    /\ toLeader' = Knocks(i)
    /\ IF Orphan(i) THEN UNCHANGED spent
       ELSE spent.breaks < MaxBreaks /\ spent' = [spent EXCEPT !.breaks = @ + 1]
    /\ UNCHANGED <<mem, disk, seen>>

(* What it said before still arrives; what was said to it does not. *)
Unheard(i) == [f \in Server |-> [toLeader[f] EXCEPT ![i] = <<>>]]

Crash(i) ==
    /\ node[i].role # "Down" /\ spent.crashes < MaxCrashes
    /\ spent' = [spent EXCEPT !.crashes = @ + 1]
    /\ mem' = [mem EXCEPT ![i] = disk[i]]
    /\ node' = [node EXCEPT ![i] = Dead]
    /\ toLeader' = Unheard(i)
    /\ toLearner' = [toLearner EXCEPT ![i] = <<>>]
    /\ UNCHANGED <<disk, seen>>

(* R10: its log may have entries of a later epoch than its currentEpoch. *)
Restart(i) ==
    /\ node[i].role = "Down"
    /\ node' = [node EXCEPT ![i] = Idle(0)]
    /\ toLeader' = Unheard(i)
    /\ UNCHANGED <<mem, disk, toLearner, seen, spent>>

------------------------------------------------------------------------------
(* Phase 1, discovery: fence off earlier leaders.                             *)

LeaderInfo(e) == <<[t |-> "LEADERINFO", e |-> e]>>

(* FOLLOWERINFO at place `p` of the queue: what is before it is of an attempt that is over. With a quorum of them the leader
   chooses an epoch above all that were accepted. *)
HandleInfo(l, f, p) ==
    LET m == toLeader[f][l][p]
        queues == [toLeader EXCEPT ![f][l] = SubSeq(@, p + 1, Len(@))]
        n == node[l]
        known == [NoPeer EXCEPT !.p = "Info", !.acc = m.acc, !.cur = m.cur, !.last = m.last]
        peers == [n.peers EXCEPT ![f] = known]
        who == {g \in Server : peers[g].p # "none"}
        highest == MaxOf({mem[l].acc} \cup {peers[g].acc : g \in who})
        early == Bug = "leaderinfo-early"
    IN
    /\ Leads(l) /\ m.t = "FOLLOWERINFO"
    /\ UNCHANGED <<disk, seen, spent>>
    /\ CASE n.epoch > 0 /\ m.acc > n.epoch ->
              \* A promise above this leader's epoch: it gives up, and its next epoch will be above it.
              Quits(l) /\ UNCHANGED mem
              /\ toLeader' = [g \in Server |-> [queues[g] EXCEPT ![l] = SelectSeq(@, LAMBDA x : x.t = "FOLLOWERINFO")]]
         [] n.stage = "Discovery" /\ IsQuorum(who \cup {l}) ->
              \E e \in highest + 1 .. Min(highest + EpochStep, MaxEpoch) :
                  LET next == [g \in Server |-> [peers[g] EXCEPT !.acc = 0, !.p = IF early /\ @ = "Info" THEN "Promising" ELSE @]]
                  IN
                  /\ mem' = [mem EXCEPT ![l].acc = e]
                  /\ node' = [node EXCEPT ![l] = [@ EXCEPT !.epoch = e, !.peers = next,
                                                           !.stage = IF early THEN "EpochAcks" ELSE "Accepting"]]
                  /\ toLeader' = queues
                  /\ toLearner' = Sent(l, queues, [g \in Server |-> IF early /\ g \in who THEN LeaderInfo(e) ELSE <<>>])
         [] n.stage \in {"Discovery", "Accepting"} ->
              /\ node' = [node EXCEPT ![l].peers = peers]
              /\ toLeader' = queues
              /\ UNCHANGED <<mem, toLearner>>
         [] OTHER ->
              /\ node' = [node EXCEPT ![l].peers = [peers EXCEPT ![f].p = "Promising", ![f].acc = 0]]
              /\ toLeader' = queues
              /\ toLearner' = Sent(l, queues, [g \in Server |-> IF g = f THEN LeaderInfo(n.epoch) ELSE <<>>])
              /\ UNCHANGED mem

AckEpoch(f, already) ==
    [t |-> "ACKEPOCH", cur |-> mem[f].cur, last |-> Last(mem[f].log), already |-> already]

(* R2: the promise is durable before it is given (FlushHard). One that was given in an earlier attempt is said to be such. *)
HandleLeaderInfo(f) ==
    LET e == Head(toLearner[f]).e IN
    /\ Told(f, "LEADERINFO") /\ node[f].stage = "Info"
    /\ UNCHANGED <<disk, seen, spent>>
    /\ CASE e > mem[f].acc ->
              /\ mem' = [mem EXCEPT ![f].acc = e]
              /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
              /\ IF Bug = "ackepoch-early"
                 THEN /\ node' = [node EXCEPT ![f] = [@ EXCEPT !.epoch = e, !.stage = "Promised"]]
                      /\ toLeader' = Say(f, AckEpoch(f, FALSE))
                 ELSE /\ node' = [node EXCEPT ![f] = [@ EXCEPT !.epoch = e, !.stage = "Accepting"]]
                      /\ UNCHANGED toLeader
         [] e = mem[f].acc ->
              /\ node' = [node EXCEPT ![f] = [@ EXCEPT !.epoch = e, !.stage = "Promised"]]
              /\ toLeader' = Say(f, AckEpoch(f, TRUE))
              /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
              /\ UNCHANGED mem
         [] OTHER -> Quits(f) /\ UNCHANGED <<mem, toLeader>>

------------------------------------------------------------------------------
(* Phase 2, synchronisation.                                                  *)

(* What brings a learner with this last zxid level: one decision (DIFF when all of its log stays, TRUNC when not), the history
   that it lacks, its commit point if the leader knows one, NEWLEADER, and what is proposed and not committed. *)
SyncEnd(l, established, last) == Max(IF established THEN node[l].com ELSE Len(mem[l].log), Floor(mem[l].log, last))

SyncMessages(l, e, established, last) ==
    LET log == mem[l].log
        keep == Floor(log, last)
        end == SyncEnd(l, established, last)
        common == Last(Upto(log, keep))
    IN  <<[t |-> IF common = last THEN "DIFF" ELSE "TRUNC", keep |-> common, ents |-> SubSeq(log, keep + 1, end)]>>
        \o (IF established /\ keep < end THEN <<[t |-> "COMMIT", n |-> end]>> ELSE <<>>)
        \o <<[t |-> "NEWLEADER", e |-> e]>>
        \o (IF end < Len(log) THEN <<[t |-> "PROPOSAL", ents |-> SubSeq(log, end + 1, Len(log))]>> ELSE <<>>)

(* `acked` is what the ACK of NEWLEADER will cover; it counts from then on. *)
Syncing(l, peer, established) ==
    [peer EXCEPT !.p = "NewLeader", !.cur = 0, !.last = Zero, !.acked = SyncEnd(l, established, peer.last)]

(* ACKEPOCH. Not counted: who accepted this epoch before, since that promise may have been counted for another leader; who has
   a better history than this leader. With a quorum, the leader brings all who have answered level. *)
HandleAckEpoch(l, f) ==
    LET m == Head(toLeader[f][l])
        n == node[l]
        queues == Popped(l, f)
        same == n.peers[f].p = "Promising" /\ m.cur = n.peers[f].cur /\ m.last = n.peers[f].last
        ahead == Better(m.cur, m.last, mem[l].cur, Last(mem[l].log)) /\ Bug # "no-compare"
        counted == (~m.already \/ Bug = "count-accepted") /\ ~ahead
        peers == [n.peers EXCEPT ![f].p = "Promised", ![f].counted = counted]
        begins == IsQuorum({g \in Server : peers[g].counted} \cup {l})
        earlier == SelectSeq(seen.delivered, LAMBDA x : x[1] < n.epoch)
        reign == [e |-> n.epoch, by |-> l, hist |-> mem[l].log, whole |-> Prefix(earlier, mem[l].log)]
        ready == {g \in Server : peers[g].p = "Promised"}
        synced(S, established) ==
            /\ toLearner' = Sent(l, queues, [g \in Server |->
                   IF g \in S THEN SyncMessages(l, n.epoch, established, peers[g].last) ELSE <<>>])
    IN
    /\ Heard(l, f, "ACKEPOCH") /\ n.peers[f].p # "none"
    /\ toLeader' = queues
    /\ UNCHANGED <<disk, spent>>
    /\ CASE ~same ->
              node' = [node EXCEPT ![l].peers[f] = NoPeer] /\ UNCHANGED <<mem, toLearner, seen>>
         [] same /\ n.stage = "EpochAcks" /\ begins ->
              /\ node' = [node EXCEPT ![l] = [@ EXCEPT !.stage = "Synchronisation",
                     !.peers = [g \in Server |-> IF g \in ready THEN Syncing(l, [peers[g] EXCEPT !.counted = FALSE], FALSE) ELSE peers[g]]]]
              /\ mem' = [mem EXCEPT ![l].cur = n.epoch]
              /\ synced(ready, FALSE)
              /\ seen' = [seen EXCEPT !.reigns = @ \cup {reign}]
         [] same /\ n.stage = "EpochAcks" /\ ~begins ->
              node' = [node EXCEPT ![l].peers = peers] /\ UNCHANGED <<mem, toLearner, seen>>
         [] OTHER ->
              LET established == n.stage = "Broadcast" IN
              /\ node' = [node EXCEPT ![l].peers[f] = Syncing(l, [peers[f] EXCEPT !.counted = FALSE], established)]
              /\ synced({f}, established)
              /\ UNCHANGED <<mem, seen>>

(* DIFF or TRUNC, with the history that follows. *)
HandleSync(f) ==
    LET m == Head(toLearner[f]) IN
    /\ Told(f, "DIFF") \/ Told(f, "TRUNC")
    /\ node[f].stage = "Promised"
    /\ mem' = [mem EXCEPT ![f].log = Upto(@, Floor(@, m.keep)) \o m.ents]
    /\ node' = [node EXCEPT ![f].stage = "Syncing"]
    /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
    /\ UNCHANGED <<disk, toLeader, seen, spent>>

(* R4: when the history is durable, currentEpoch is written; when that is durable (FlushHard), NEWLEADER is acknowledged. *)
AckNewLeader(f) == [t |-> "ACKNEWLEADER", e |-> node[f].epoch]

HistoryDone(f) ==
    IF mem[f].cur = node[f].epoch
    THEN /\ node' = [node EXCEPT ![f].stage = "Acked"]
         /\ toLeader' = Say(f, AckNewLeader(f))
         /\ UNCHANGED mem
    ELSE /\ node' = [node EXCEPT ![f].stage = "Epoch"]
         /\ mem' = [mem EXCEPT ![f].cur = node[f].epoch]
         /\ UNCHANGED toLeader

HandleNewLeader(f) ==
    /\ Told(f, "NEWLEADER") /\ node[f].stage = "Syncing"
    /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
    /\ UNCHANGED <<disk, seen, spent>>
    /\ CASE Bug = "newleader-ack-early" ->
              /\ mem' = [mem EXCEPT ![f].cur = node[f].epoch]
              /\ node' = [node EXCEPT ![f].stage = "Acked"]
              /\ toLeader' = Say(f, AckNewLeader(f))
         [] Bug = "epoch-first" ->
              /\ mem' = [mem EXCEPT ![f].cur = node[f].epoch]
              /\ node' = [node EXCEPT ![f].stage = "History"]
              /\ UNCHANGED toLeader
         [] OTHER -> IF AtRest(f) THEN HistoryDone(f)
                     ELSE node' = [node EXCEPT ![f].stage = "History"] /\ UNCHANGED <<mem, toLeader>>

(* R5: proposals and commits between NEWLEADER and UPTODATE wait for UPTODATE. They wait in the queue here, which is the same:
   an attempt that ends loses both. *)
HandleUpToDate(f) ==
    LET q == toLearner[f] IN
    /\ Follows(f) /\ node[f].stage = "Acked"
    /\ \E p \in 1..Len(q) :
           LET held == SubSeq(q, 1, p - 1)
               RECURSIVE Entries(_)
               Entries(s) == IF s = <<>> THEN <<>>
                             ELSE (IF Head(s).t = "PROPOSAL" THEN Head(s).ents ELSE <<>>) \o Entries(Tail(s))
               commits == {q[p].n} \cup {held[k].n : k \in {j \in 1..Len(held) : held[j].t = "COMMIT"}}
           IN
           /\ q[p].t = "UPTODATE"
           /\ \A k \in 1..Len(held) : held[k].t \in {"PROPOSAL", "COMMIT"}
           /\ mem' = [mem EXCEPT ![f].log = @ \o Entries(held)]
           /\ node' = [node EXCEPT ![f] = [@ EXCEPT !.stage = "Broadcast", !.com = MaxOf({@} \cup commits)]]
           /\ toLearner' = [toLearner EXCEPT ![f] = SubSeq(q, p + 1, Len(q))]
    /\ UNCHANGED <<disk, toLeader, seen, spent>>

------------------------------------------------------------------------------
(* What follows at a leader from acknowledgements and from its own disk.      *)

(* What was delivered anywhere. A node that delivers something else shows it in the invariant Agreement. *)
Delivers(log) == [seen EXCEPT !.delivered = IF Prefix(@, log) THEN log ELSE @]

Synced(peers) == {g \in Server : peers[g].p = "Synced"}

(* R6: established, when a quorum with this leader in it has its history and its epoch durably. All of it is committed. *)
Establishes(l, peers, cur) ==
    /\ node[l].stage = "Synchronisation" /\ cur = node[l].epoch
    /\ IsQuorum(Synced(peers) \cup {l}) \/ Bug = "no-newleader"

Established(l, peers) == [node[l] EXCEPT !.stage = "Broadcast", !.peers = peers, !.com = Len(mem[l].log)]
UpToDate(n) == <<[t |-> "UPTODATE", n |-> n]>>

(* R8, R9: up to where a quorum has acknowledged; a leader counts what its own disk has. *)
Reached(l, peers, durable) ==
    MaxOf({0} \cup {n \in 1..Len(mem[l].log) :
        IsQuorum({g \in Server : IF g = l THEN n <= durable ELSE peers[g].p = "Synced" /\ n <= peers[g].acked})})

(* It commits what it can, and says so to everyone in the stream. `first` is what is sent before. *)
Commits(l, peers, durable, queues, first) ==
    LET com == Max(node[l].com, Reached(l, peers, durable))
        stream == {g \in Server : peers[g].p \in {"NewLeader", "Synced"}}
        tell == com > node[l].com
    IN
    /\ node' = [node EXCEPT ![l] = [@ EXCEPT !.peers = peers, !.com = com]]
    /\ toLearner' = Sent(l, queues, [g \in Server |->
           first[g] \o (IF tell /\ g \in stream THEN <<[t |-> "COMMIT", n |-> com]>> ELSE <<>>)])
    /\ seen' = IF tell THEN Delivers(Upto(mem[l].log, com)) ELSE seen

Silence == [g \in Server |-> <<>>]

Establish(l, peers, queues) ==
    /\ node' = [node EXCEPT ![l] = Established(l, peers)]
    /\ toLearner' = Sent(l, queues, [g \in Server |->
           IF g \in Synced(peers) THEN UpToDate(Len(mem[l].log)) ELSE <<>>])
    /\ seen' = [Delivers(mem[l].log) EXCEPT !.est = @ \cup {[e |-> node[l].epoch, by |-> l]}]

HandleAckNewLeader(l, f) ==
    LET peers == [node[l].peers EXCEPT ![f].p = "Synced"]
        queues == Popped(l, f)
    IN
    /\ Heard(l, f, "ACKNEWLEADER") /\ node[l].peers[f].p = "NewLeader"
    /\ toLeader' = queues
    /\ UNCHANGED <<mem, disk, spent>>
    /\ CASE Establishes(l, peers, disk[l].cur) -> Establish(l, peers, queues)
         [] node[l].stage = "Broadcast" ->
              Commits(l, peers, Len(disk[l].log), queues,
                      [g \in Server |-> IF g = f THEN UpToDate(node[l].com) ELSE <<>>])
         [] OTHER -> node' = [node EXCEPT ![l].peers = peers] /\ UNCHANGED <<toLearner, seen>>

------------------------------------------------------------------------------
(* Phase 3, broadcast.                                                        *)

Total == LET RECURSIVE Sum(_)
             Sum(e) == IF e = 0 THEN 0 ELSE seen.count[e] + Sum(e - 1)
         IN  Sum(MaxEpoch)

Propose(l) ==
    LET n == node[l]
        last == Last(mem[l].log)
        entry == <<n.epoch, IF last[1] = n.epoch THEN last[2] + 1 ELSE 1, l>>
        stream == {"NewLeader", "Synced"} \ (IF Bug = "stream-late" THEN {"NewLeader"} ELSE {})
    IN
    /\ Leads(l) /\ n.stage = "Broadcast" /\ Total < MaxTxns
    /\ mem' = [mem EXCEPT ![l].log = Append(@, entry)]
    /\ toLearner' = Sent(l, toLeader, [g \in Server |->
           IF n.peers[g].p \in stream THEN <<[t |-> "PROPOSAL", ents |-> <<entry>>]>> ELSE <<>>])
    /\ seen' = [seen EXCEPT !.count[n.epoch] = Max(@, entry[2])]
    /\ UNCHANGED <<disk, node, toLeader, spent>>

HandleProposal(f) ==
    /\ Told(f, "PROPOSAL") /\ node[f].stage = "Broadcast"
    /\ mem' = [mem EXCEPT ![f].log = @ \o Head(toLearner[f]).ents]
    /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
    /\ toLeader' = IF Bug = "ack-early" THEN Say(f, [t |-> "ACK", n |-> Len(mem'[f].log)]) ELSE toLeader
    /\ UNCHANGED <<disk, node, seen, spent>>

(* COMMIT; in a synchronisation, of history that was sent. *)
HandleCommit(f) ==
    /\ Told(f, "COMMIT") /\ node[f].stage \in {"Syncing", "Broadcast"}
    /\ node' = [node EXCEPT ![f].com = Max(@, Head(toLearner[f]).n)]
    /\ toLearner' = [toLearner EXCEPT ![f] = Tail(@)]
    /\ UNCHANGED <<mem, disk, toLeader, seen, spent>>

HandleAck(l, f) ==
    LET peers == [node[l].peers EXCEPT ![f].acked = Head(toLeader[f][l]).n] IN
    /\ Heard(l, f, "ACK") /\ node[l].peers[f].p = "Synced"
    /\ toLeader' = Popped(l, f)
    /\ Commits(l, peers, Len(disk[l].log), Popped(l, f), Silence)
    /\ UNCHANGED <<mem, disk, spent>>

------------------------------------------------------------------------------
(* The disk. What a node does when a write is durable it does in the same step: to go down in between is like losing what it
   says. Epochs and log are different files, and nothing here orders what is written to the one and to the other; nor need it,
   since they are never both under way, but for seeded bugs.                                                              *)

FlushHard(i) ==
    LET n == node[i]
        durable == [disk[i] EXCEPT !.acc = mem[i].acc, !.cur = mem[i].cur]
    IN
    /\ n.role # "Down" /\ durable # disk[i]
    /\ disk' = [disk EXCEPT ![i] = durable]
    /\ UNCHANGED <<mem, spent>>
    /\ CASE Leads(i) /\ n.stage = "Accepting" ->
              \* R1: LEADERINFO leaves when the leader's own acceptedEpoch is durable.
              LET who == {g \in Server : n.peers[g].p = "Info"} IN
              /\ node' = [node EXCEPT ![i] = [@ EXCEPT !.stage = "EpochAcks",
                     !.peers = [g \in Server |-> IF g \in who THEN [@[g] EXCEPT !.p = "Promising", !.acc = 0] ELSE @[g]]]]
              /\ toLearner' = Sent(i, toLeader, [g \in Server |-> IF g \in who THEN LeaderInfo(n.epoch) ELSE <<>>])
              /\ UNCHANGED <<toLeader, seen>>
         [] Leads(i) /\ Establishes(i, n.peers, durable.cur) ->
              Establish(i, n.peers, toLeader) /\ UNCHANGED toLeader
         [] Follows(i) /\ n.stage = "Accepting" ->
              /\ node' = [node EXCEPT ![i].stage = "Promised"]
              /\ toLeader' = Say(i, AckEpoch(i, FALSE))
              /\ UNCHANGED <<toLearner, seen>>
         [] Follows(i) /\ (n.stage = "Epoch" \/ (Bug = "epoch-first" /\ n.stage = "History" /\ durable = mem[i])) ->
              /\ node' = [node EXCEPT ![i].stage = "Acked"]
              /\ toLeader' = Say(i, AckNewLeader(i))
              /\ UNCHANGED <<toLearner, seen>>
         [] OTHER -> UNCHANGED <<node, toLeader, toLearner, seen>>

(* A cut is carried out, and the first `k` entries are there. *)
FlushLog(i, k) ==
    LET n == node[i]
        same == Common(disk[i].log, mem[i].log)
        durable == [disk[i] EXCEPT !.log = Upto(mem[i].log, k)]
    IN
    /\ n.role # "Down" /\ disk[i].log # mem[i].log
    /\ k \in same..Len(mem[i].log) /\ durable # disk[i]
    /\ disk' = [disk EXCEPT ![i] = durable]
    /\ UNCHANGED spent
    /\ CASE Follows(i) /\ n.stage = "History" /\ durable = mem[i] ->
              HistoryDone(i) /\ UNCHANGED <<toLearner, seen>>
         [] Follows(i) /\ n.stage = "Broadcast" /\ Bug # "ack-early" ->
              \* R7: one ACK for all that is durable.
              /\ toLeader' = Say(i, [t |-> "ACK", n |-> k])
              /\ UNCHANGED <<mem, node, toLearner, seen>>
         [] Leads(i) /\ n.stage = "Broadcast" ->
              Commits(i, n.peers, k, toLeader, Silence) /\ UNCHANGED <<mem, toLeader>>
         [] OTHER -> UNCHANGED <<mem, node, toLeader, toLearner, seen>>

------------------------------------------------------------------------------

NodeStep(i) ==
    \/ Lead(i) \/ \E l \in Server : Follow(i, l)
    \/ GiveUp(i) \/ Crash(i) \/ Restart(i)
    \/ HandleLeaderInfo(i) \/ HandleSync(i) \/ HandleNewLeader(i) \/ HandleUpToDate(i)
    \/ HandleProposal(i) \/ HandleCommit(i)
    \/ \E f \in Server :
           \/ \E p \in 1..Len(toLeader[f][i]) : HandleInfo(i, f, p)
           \/ HandleAckEpoch(i, f) \/ HandleAckNewLeader(i, f) \/ HandleAck(i, f)
    \/ FlushHard(i) \/ \E k \in 0..Len(mem[i].log) : FlushLog(i, k)
    \/ Propose(i)

Next == \E i \in Server : NodeStep(i)

Spec == Init /\ [][Next]_vars

------------------------------------------------------------------------------
(* What must hold.                                                            *)

(* One node leads an epoch, once: already when it begins to bring others level, not only when it is established. *)
OneLeader == \A a, b \in seen.reigns : a.e = b.e => a = b

(* Total order and agreement: what any node delivered is a part of one sequence, which only grows. *)
Agreement == \A i \in Server : Prefix(Upto(mem[i].log, Min(node[i].com, Len(mem[i].log))), seen.delivered)

(* Nothing is delivered that is not there. *)
Delivered == \A i \in Server : node[i].com <= Len(mem[i].log)

(* Who begins an epoch has everything of earlier epochs that was delivered before. (Something of a later one may have been:
   the last promise may reach this leader when those who gave it have gone on.) *)
LeaderCompleteness == \A r \in seen.reigns : r.whole

(* When an epoch was established, nothing of earlier epochs is delivered any more but what its leader began with. *)
PrimaryIntegrity ==
    \A r \in seen.reigns : [e |-> r.e, by |-> r.by] \in seen.est =>
        Prefix(SelectSeq(seen.delivered, LAMBDA x : x[1] < r.e), r.hist)

(* Integrity and primary order, of every log, in memory and on disk: each entry was broadcast in its epoch; the first one of
   an epoch follows the whole history that its leader began with, the others follow their predecessor. *)
Ordered(log) ==
    \A k \in 1..Len(log) : LET e == log[k][1] IN
        /\ log[k][2] <= seen.count[e]
        /\ IF k > 1 /\ log[k - 1][1] = e
           THEN log[k] = <<e, log[k - 1][2] + 1, log[k - 1][3]>>
           ELSE log[k][2] = 1 /\ \E r \in seen.reigns : r.e = e /\ r.by = log[k][3] /\ r.hist = Upto(log, k - 1)

PrimaryOrder == \A i \in Server : Ordered(mem[i].log) /\ Ordered(disk[i].log)

(* acceptedEpoch is never behind currentEpoch, nor behind the log. *)
EpochsInOrder == \A i \in Server :
    /\ disk[i].acc >= disk[i].cur /\ mem[i].acc >= mem[i].cur
    /\ disk[i].acc >= Last(disk[i].log)[1]

(* currentEpoch is on a disk only behind the history of that epoch. *)
HistoryBeforeEpoch == \A i \in Server : disk[i].cur > 0 =>
    \E r \in seen.reigns : r.e = disk[i].cur /\ Prefix(r.hist, disk[i].log)

(* What was delivered is on the disks of a quorum. *)
Durable == IsQuorum({i \in Server : Prefix(seen.delivered, disk[i].log)})

(* Our change rests on this: from FOLLOWERINFO to the decision what the learner said of its log is true of its disk. *)
Frozen == \A i \in Server :
    /\ Follows(i) /\ node[i].stage \in {"Info", "Accepting", "Promised"} => mem[i].log = disk[i].log
    /\ Leads(i) /\ node[i].stage # "Broadcast" => mem[i].log = disk[i].log
=============================================================================
