------------------------------ MODULE promised_twice ------------------------------
\* A promise that is repeated is not counted.
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
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 9
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 10
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 1, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 11
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<<<2, "LEADERINFO", 1>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 12
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 1>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 13
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACKEPOCH", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 14
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 15
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 1>>, <<2, "DIFF">>, <<2, "NEWLEADER", 1>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 16
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 17
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 18
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 19
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 20
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 21
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 22
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 23
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 24
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<<<2, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 25
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 26
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 27
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 1, 1>>, <<2, "PROPOSAL", 1, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 28
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 29
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 30
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 31
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 32
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "COMMIT", 1, 1>>, <<2, "COMMIT", 1, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 33
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 1, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 34
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACK", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 35
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]], \* 36
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "COMMIT", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 1, cur |-> 1, com |-> <<1, 1>>, log |-> <<<<1, 1>>>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<<<1, 1>>>>]] \* 37
>>
=============================================================================
