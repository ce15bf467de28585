------------------------------ MODULE epoch_before_history ------------------------------
\* currentEpoch is on a disk before the history of that epoch.
\* Written by zab/tests/tla.rs.
\* Must be rejected at line 67.
EXTENDS ZabTrace

Trace == <<
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 1
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 2
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 3
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 4
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "LEADERINFO", 1>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 5
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<<<1, "LEADERINFO", 1>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 6
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 7
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 8
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 9
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 10
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACKEPOCH", said |-> <<<<2, "DIFF">>, <<2, "NEWLEADER", 1>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 11
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 12
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 13
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 1>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 14
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 15
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 16
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 17
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<<<2, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 18
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 19
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 20
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 21
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 22
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 23
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 1, 1>>, <<2, "PROPOSAL", 1, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 24
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 25
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 26
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 27
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 28
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "COMMIT", 1, 1>>, <<2, "COMMIT", 1, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 29
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 30
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 31
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 32
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 33
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 1, 2>>, <<2, "PROPOSAL", 1, 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<1, 2>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 34
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 1, 3>>, <<2, "PROPOSAL", 1, 3>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 35
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 36
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 37
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 38
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 39
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 1, 1, 1, 1>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 40
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 41
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 42
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 43
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 44
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 1, 1, 1, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 45
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 2>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 46
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 47
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 48
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 49
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACK", 2, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 50
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "UPTODATE", 1, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 51
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 52
  [n |-> 2, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 2, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 53
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 54
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]], \* 55
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACK", 2, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<1, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 56
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "COMMIT", 2, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 57
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 58
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 59
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 1, 1, 1, 3>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 60
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "FOLLOWERINFO", said |-> <<<<3, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 61
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 62
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 1, 1, 3, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 63
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "ACKEPOCH", said |-> <<<<3, "TRUNC", 1, 1>>, <<3, "PROPOSAL", 2, 1>>, <<3, "COMMIT", 2, 1>>, <<3, "NEWLEADER", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>, <<2, 1>>>>]], \* 64
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "TRUNC", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>, <<1, 2>>, <<1, 3>>>>]], \* 65
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 66
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<1, 1>>, <<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<1, 1>>>>]] \* 67
>>
=============================================================================
