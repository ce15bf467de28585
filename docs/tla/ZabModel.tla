------------------------------ MODULE ZabModel ------------------------------
(* Zab.tla for TLC, which has no need to tell the servers apart.              *)
EXTENDS Zab, TLC
Symmetry == Permutations(Server)
=============================================================================
