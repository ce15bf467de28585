//! A cluster of real nodes, each a child process of this executable: to be killed, paused and restarted one by one.
