------------------------------ MODULE ZabTrace ------------------------------
(* Whether a recorded run of the Rust cores is a behaviour of Zab.tla. Each    *)
(* line of a trace is one input of one node: what came in, what the node said  *)
(* and what was to be seen of it afterwards. It must be explained by at most   *)
(* `HiddenMax` steps of that node alone, of the kind that the input allows,    *)
(* after which everything that the line shows is so. What a line does not show *)
(* (what a leader knows of its learners, what is under way) TLC finds.         *)
(*                                                                             *)
(* A trace is accepted when its end is reached, that is, when TLC finds the    *)
(* "invariant" Unfinished violated; `check` knows that.                        *)
EXTENDS Zab, TLC

CONSTANT Steps

VARIABLES at, hidden, was

HiddenMax == 4

(* Register 1: the first line not explained yet. Register 2: the trace, which TLC would build anew whenever it looks at it. *)
ASSUME TLCSet(1, 1) /\ TLCSet(2, Steps)

traceVars == <<vars, at, hidden, was>>

Queues == [leaders |-> toLeader, learners |-> toLearner]

TraceInit == Init /\ at = 1 /\ hidden = 0 /\ was = Queues

Length == Len(TLCGet(2))
line == TLCGet(2)[at]

------------------------------------------------------------------------------
(* What a line may be explained by.                                            *)

(* Elections and ends of roles may come with any input; a node that begins to lead looks at who knocked. Only what can lead to
   what the line shows is tried. *)
Asks(l) == \E k \in 1..Len(line.said) : line.said[k][1] = l /\ line.said[k][2] = "FOLLOWERINFO"

Chooses(i) ==
    \/ line.part = "leading" /\ Lead(i)
    \/ \E l \in Server : Asks(l) /\ Follow(i, l)
    \/ /\ CASE line.part = "looking" -> TRUE
             [] line.part = "leading" -> Follows(i) \/ line.phase = "discovery"
             [] line.part = "following" -> Leads(i) \/ \E l \in Server : Asks(l)
       /\ GiveUp(i)
    \/ \E f \in Server : \E p \in 1..Len(toLeader[f][i]) :
           /\ node[i].stage = "Discovery" \/ (line.kind = "FOLLOWERINFO" /\ line.from = f)
           /\ HandleInfo(i, f, p)

(* The commit point of history comes in pieces when the history does. *)
PartOfHistory(f) ==
    /\ Told(f, "COMMIT") /\ node[f].stage = "Syncing"
    /\ \E n \in node[f].com..Head(toLearner[f]).n : node' = [node EXCEPT ![f].com = n]
    /\ UNCHANGED <<mem, disk, toLeader, toLearner, seen, spent>>

Handles(i, f, kind) ==
    \/ kind = "ACKEPOCH" /\ HandleAckEpoch(i, f)
    \/ kind = "ACK" /\ (HandleAckNewLeader(i, f) \/ HandleAck(i, f))
    \/ Follows(i) /\ node[i].leader = f /\
         \/ kind = "LEADERINFO" /\ HandleLeaderInfo(i)
         \/ kind \in {"DIFF", "TRUNC"} /\ Told(i, kind) /\ HandleSync(i)
         \/ kind = "NEWLEADER" /\ HandleNewLeader(i)
         \/ kind = "UPTODATE" /\ HandleUpToDate(i)
         \/ kind = "PROPOSAL" /\ HandleProposal(i)
         \/ kind = "COMMIT" /\ (HandleCommit(i) \/ PartOfHistory(i))

Explains(i) ==
    CASE line.op = "crash" -> Crash(i)
      [] line.op = "start" -> Restart(i) \/ Chooses(i)
      [] line.op = "propose" -> Propose(i)
      [] line.op = "disk" -> FlushHard(i) \/ (\E k \in 0..Len(mem[i].log) : FlushLog(i, k)) \/ Chooses(i)
      [] line.op = "hear" -> Handles(i, line.from, line.kind) \/ Chooses(i)
      [] line.op = "other" -> Chooses(i)

------------------------------------------------------------------------------
(* What a line shows.                                                          *)

Zxids(log) == [k \in 1..Len(log) |-> Zxid(log[k])]
ZxidAt(i, n) == Last(Upto(mem[i].log, n))

Part(i) == CASE Leads(i) -> "leading" [] Follows(i) -> "following"
             [] node[i].role = "Looking" -> "looking" [] OTHER -> "down"

Phase(i) ==
    CASE node[i].role \in {"Down", "Looking"} -> "election"
      [] node[i].stage = "Broadcast" -> "broadcast"
      [] node[i].stage \in {"Info", "Accepting", "Discovery", "EpochAcks"} -> "discovery"
      [] OTHER -> "synchronisation"

(* A learner that is receiving history has it in as many pieces as it comes in, and here at once. *)
Receiving(i) == Follows(i) /\ Phase(i) = "synchronisation"

StateShown(i) ==
    /\ Part(i) = line.part
    /\ disk[i].acc = line.disk.acc /\ disk[i].cur = line.disk.cur /\ Zxids(disk[i].log) = line.disk.log
    /\ line.part # "down" =>
        /\ Phase(i) = line.phase
        /\ mem[i].acc = line.acc /\ mem[i].cur = line.cur
        /\ ZxidAt(i, node[i].com) = line.com
        /\ Receiving(i) \/ Zxids(mem[i].log) = line.log

(* Messages as a trace has them: kind and numbers; entries one by one; commits of history are not compared. *)
RECURSIVE Views(_, _)
View(i, m) ==
    CASE m.t = "FOLLOWERINFO" -> <<<<m.t, m.acc, m.cur, m.last[1], m.last[2]>>>>
      [] m.t = "ACKEPOCH" -> <<<<m.t, m.cur, m.last[1], m.last[2], IF m.already THEN 1 ELSE 0>>>>
      [] m.t = "ACKNEWLEADER" -> <<<<"ACK", m.e, 0>>>>
      [] m.t \in {"ACK", "UPTODATE", "COMMIT"} -> <<<<m.t, ZxidAt(i, m.n)[1], ZxidAt(i, m.n)[2]>>>>
      [] m.t \in {"LEADERINFO", "NEWLEADER"} -> <<<<m.t, m.e>>>>
      [] m.t = "PROPOSAL" -> [k \in 1..Len(m.ents) |-> <<m.t, m.ents[k][1], m.ents[k][2]>>]
      [] m.t \in {"DIFF", "TRUNC"} ->
           <<IF m.t = "DIFF" THEN <<m.t>> ELSE <<m.t, m.keep[1], m.keep[2]>>>>
           \o [k \in 1..Len(m.ents) |-> <<"PROPOSAL", m.ents[k][1], m.ents[k][2]>>]
Views(i, q) == IF q = <<>> THEN <<>> ELSE View(i, Head(q)) \o Views(i, Tail(q))

NoHistoryCommits(said) ==
    LET last == {k \in 1..Len(said) : said[k][1] = "NEWLEADER"}
        upto == IF last = {} THEN 0 ELSE MaxOf(last)
        RECURSIVE From(_)
        From(k) == IF k > Len(said) THEN <<>>
                   ELSE (IF k < upto /\ said[k][1] = "COMMIT" THEN <<>> ELSE <<said[k]>>) \o From(k + 1)
    IN  From(1)

Added(before, now) == SubSeq(now, Len(before) + 1, Len(now))
SaidTo(g) == LET RECURSIVE Of(_)
                 Of(s) == IF s = <<>> THEN <<>>
                          ELSE (IF Head(s)[1] = g THEN <<Tail(Head(s))>> ELSE <<>>) \o Of(Tail(s))
             IN  Of(line.said)

IsLearners(m) == m[1] \in {"FOLLOWERINFO", "ACKEPOCH", "ACK"}

(* What it says as a learner it says in both; what it says as a leader may go to an attempt that is over, and is then lost. *)
SaidShown(i) == \A g \in Server \ {i} :
    LET asLearner == Views(i, Added(was.leaders[i][g], toLeader[i][g]))
        asLeader == NoHistoryCommits(Views(i, Added(was.learners[g], toLearner[g])))
        lost == ~Live(i, g, toLeader[g][i])
    IN
    /\ asLearner = SelectSeq(SaidTo(g), IsLearners)
    /\ \/ asLeader = NoHistoryCommits(SelectSeq(SaidTo(g), LAMBDA m : ~IsLearners(m)))
       \/ lost /\ asLeader = <<>>

------------------------------------------------------------------------------

Hidden ==
    /\ at <= Length /\ hidden < HiddenMax
    /\ Explains(line.n)
    /\ hidden' = hidden + 1
    /\ UNCHANGED <<at, was>>

Shown ==
    /\ at <= Length
    /\ StateShown(line.n) /\ SaidShown(line.n)
    /\ at < TLCGet(1) \/ (TLCSet(1, at + 1) /\ PrintT(<<"explained", at>>))
    /\ at' = at + 1 /\ hidden' = 0 /\ was' = Queues
    /\ UNCHANGED vars

TraceSpec == TraceInit /\ [][Hidden \/ Shown]_traceVars

Unfinished == at <= Length
=============================================================================
