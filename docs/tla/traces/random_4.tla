------------------------------ MODULE random_4 ------------------------------
\* Random events, seed 4: crashes, broken sessions, elections, proposals.
\* Written by zab/tests/tla.rs.
EXTENDS ZabTrace

Trace == <<
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 1
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 2
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 3
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 4
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 5
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 6
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 1>>, <<2, "LEADERINFO", 1>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 7
  [n |-> 2, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 8
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 9
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 10
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 11
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 12
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 13
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 14
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 15
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 16
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 17
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 18
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 19
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 20
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 21
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 22
  [n |-> 2, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 23
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 24
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 25
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 26
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 27
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 28
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 29
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 30
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 31
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 2, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 32
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 33
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 34
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 3>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 35
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 36
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 37
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 38
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 2, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 39
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 40
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 2, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 41
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 42
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 43
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 44
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 3, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 45
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 3>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 46
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 47
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 48
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 3>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 49
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 50
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 51
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 52
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 53
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 54
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 3, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 55
  [n |-> 2, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 56
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 57
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 58
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 3, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 59
  [n |-> 2, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 60
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 61
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 62
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 4>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 63
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 3, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 64
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 65
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 66
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<<<2, "LEADERINFO", 4>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 67
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 4>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 68
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 69
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 70
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACK", 4, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 71
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 72
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 73
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 74
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 75
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 76
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 77
  [n |-> 3, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 4, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 78
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 79
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 80
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<1, "FOLLOWERINFO", 4, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 81
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 82
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 83
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 84
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "LEADERINFO", 5>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 85
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 86
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<1, "FOLLOWERINFO", 4, 4, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 87
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 0, log |-> <<>>]], \* 88
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "FOLLOWERINFO", said |-> <<<<3, "LEADERINFO", 5>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 89
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 90
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "ACKEPOCH", 4, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 91
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "FOLLOWERINFO", 5, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 0, log |-> <<>>]], \* 92
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "ACKEPOCH", said |-> <<<<3, "DIFF">>, <<3, "NEWLEADER", 5>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 93
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 94
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 95
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 96
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<<<2, "LEADERINFO", 5>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 97
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<>>]], \* 98
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "LEADERINFO", said |-> <<<<1, "ACKEPOCH", 0, 0, 0, 1>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 0, log |-> <<>>]], \* 99
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 100
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "ACKEPOCH", said |-> <<<<2, "DIFF">>, <<2, "NEWLEADER", 5>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 101
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<1, "FOLLOWERINFO", 5, 5, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 102
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 5, 5, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 103
  [n |-> 1, op |-> "hear", from |-> 3, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 104
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 0, log |-> <<>>]], \* 105
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 106
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 107
  [n |-> 3, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 108
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 5, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 0, log |-> <<>>]], \* 109
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 5, 5, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 110
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 111
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 112
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 6, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]], \* 113
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 6>>, <<2, "LEADERINFO", 6>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 6, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 6, cur |-> 5, log |-> <<>>]], \* 114
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 6, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 0, log |-> <<>>]], \* 115
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 6, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 6, cur |-> 0, log |-> <<>>]], \* 116
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "ACKEPOCH", said |-> <<<<2, "DIFF">>, <<2, "NEWLEADER", 6>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 6, cur |-> 6, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 6, cur |-> 5, log |-> <<>>]], \* 117
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 6, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 6, cur |-> 0, log |-> <<>>]], \* 118
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 6, cur |-> 6, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 6, cur |-> 6, log |-> <<>>]], \* 119
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 5, cur |-> 5, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 5, cur |-> 5, log |-> <<>>]] \* 120
>>
=============================================================================
