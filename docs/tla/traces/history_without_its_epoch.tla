------------------------------ MODULE history_without_its_epoch ------------------------------
\* A crash between history and currentEpoch.
\* Written by zab/tests/tla.rs.
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
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 24
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 25
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 26
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 27
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 1, 1, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 28
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 29
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 30
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 31
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 32
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 1, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 33
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACKEPOCH", said |-> <<<<2, "DIFF">>, <<2, "NEWLEADER", 2>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 34
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 35
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 36
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 37
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 2, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 38
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<<<2, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 39
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 40
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<2, "PROPOSAL", 2, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 41
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<2, "PROPOSAL", 2, 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 42
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 43
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<>>]], \* 44
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 2, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>>>]], \* 45
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<<<2, "COMMIT", 2, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 46
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>>>]], \* 47
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 2, 2>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 48
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<<<2, "COMMIT", 2, 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 49
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 1>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 50
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 51
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 52
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 1, 1, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 53
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<<<1, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 54
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 55
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 1, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 56
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "PROPOSAL", 2, 1>>, <<1, "PROPOSAL", 2, 2>>, <<1, "COMMIT", 2, 2>>, <<1, "NEWLEADER", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 57
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 58
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<>>]], \* 59
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 60
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 61
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 62
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 2, 1, 2, 2>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 63
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<<<1, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 64
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<<<3, "ACKEPOCH", 1, 2, 2, 1>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 65
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 66
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 67
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 1, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 68
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 2, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 2, com |-> <<0, 0>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 69
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "UPTODATE", 2, 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]], \* 70
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 2, cur |-> 2, com |-> <<2, 2>>, log |-> <<<<2, 1>>, <<2, 2>>>>,
   disk |-> [acc |-> 2, cur |-> 2, log |-> <<<<2, 1>>, <<2, 2>>>>]] \* 71
>>
=============================================================================
