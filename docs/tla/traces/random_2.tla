------------------------------ MODULE random_2 ------------------------------
\* Random events, seed 2: crashes, broken sessions, elections, proposals.
\* Written by zab/tests/tla.rs.
EXTENDS ZabTrace

Trace == <<
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
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
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 5
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 6
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 7
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 8
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 9
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 10
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 11
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 12
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 13
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 14
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 15
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 16
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 17
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "LEADERINFO", 2>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 18
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 19
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 20
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 21
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 2, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 22
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 23
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 24
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 25
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
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
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 30
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 31
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 32
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 33
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 34
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 35
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 36
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 37
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 38
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 39
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 40
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 41
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 42
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 43
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 44
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 45
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 46
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 47
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 48
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 49
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 50
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 51
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 52
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 53
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 54
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<3, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 55
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 56
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 57
  [n |-> 2, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 58
  [n |-> 2, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 59
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 60
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 61
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 62
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 0, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 63
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 64
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 1>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 65
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 0, cur |-> 0, log |-> <<>>]], \* 66
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 67
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 1>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 68
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 69
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 70
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 71
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 0, log |-> <<>>]], \* 72
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 73
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 74
  [n |-> 3, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 75
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 1, 1, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 76
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 2, 0, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 2, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 77
  [n |-> 1, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 78
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 79
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 80
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<3, "LEADERINFO", 3>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 1, log |-> <<>>]], \* 81
  [n |-> 3, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 2, cur |-> 0, log |-> <<>>]], \* 82
  [n |-> 3, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 0, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 83
  [n |-> 2, op |-> "hear", from |-> 3, kind |-> "ACKEPOCH", said |-> <<<<3, "DIFF">>, <<3, "NEWLEADER", 3>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 1, log |-> <<>>]], \* 84
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 1, log |-> <<>>]], \* 85
  [n |-> 3, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 86
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 87
  [n |-> 1, op |-> "start", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 88
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 1, 1, 0, 0>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 1, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 89
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 3, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 90
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 3, log |-> <<>>]], \* 91
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 4>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 3, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 92
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 1, cur |-> 1, log |-> <<>>]], \* 93
  [n |-> 3, op |-> "crash", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "down", phase |-> "election", acc |-> 3, cur |-> 0, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 3, cur |-> 0, log |-> <<>>]], \* 94
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 1, 0, 0, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 1, log |-> <<>>]], \* 95
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACKEPOCH", said |-> <<<<1, "DIFF">>, <<1, "NEWLEADER", 4>>>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 3, log |-> <<>>]], \* 96
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 97
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "DIFF", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 1, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 1, log |-> <<>>]], \* 98
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "NEWLEADER", said |-> <<>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 1, log |-> <<>>]], \* 99
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACK", 4, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 100
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "ACK", said |-> <<<<1, "UPTODATE", 0, 0>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 101
  [n |-> 2, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 4, 1>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 102
  [n |-> 2, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 4, 2>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 103
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>>>]], \* 104
  [n |-> 2, op |-> "propose", from |-> 0, kind |-> "", said |-> <<<<1, "PROPOSAL", 4, 3>>>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>>>]], \* 105
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "UPTODATE", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 106
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 107
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<>>]], \* 108
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACK", 4, 1>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>>>]], \* 109
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 110
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>>>]], \* 111
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "PROPOSAL", said |-> <<>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>>>]], \* 112
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACK", 4, 3>>>>,
   part |-> "following", phase |-> "broadcast", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 113
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "looking", phase |-> "election", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 114
  [n |-> 1, op |-> "other", from |-> 0, kind |-> "", said |-> <<<<2, "FOLLOWERINFO", 4, 4, 4, 3>>>>,
   part |-> "following", phase |-> "discovery", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 115
  [n |-> 2, op |-> "other", from |-> 0, kind |-> "", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 4, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 116
  [n |-> 2, op |-> "hear", from |-> 1, kind |-> "FOLLOWERINFO", said |-> <<>>,
   part |-> "leading", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 117
  [n |-> 2, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<1, "LEADERINFO", 5>>>>,
   part |-> "leading", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 118
  [n |-> 1, op |-> "hear", from |-> 2, kind |-> "LEADERINFO", said |-> <<>>,
   part |-> "following", phase |-> "discovery", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 4, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]], \* 119
  [n |-> 1, op |-> "disk", from |-> 0, kind |-> "", said |-> <<<<2, "ACKEPOCH", 4, 4, 3, 0>>>>,
   part |-> "following", phase |-> "synchronisation", acc |-> 5, cur |-> 4, com |-> <<0, 0>>, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>,
   disk |-> [acc |-> 5, cur |-> 4, log |-> <<<<4, 1>>, <<4, 2>>, <<4, 3>>>>]] \* 120
>>
=============================================================================
