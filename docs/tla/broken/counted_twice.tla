------------------------------ MODULE counted_twice ------------------------------
\* A promise that is repeated looks like a new one.
\* Written by zab/tests/tla.rs.
\* Must be rejected at line 13.
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
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]] \* 13
>>
=============================================================================
