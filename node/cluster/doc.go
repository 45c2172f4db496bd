// Package cluster decides about the cluster's own membership: which nodes are masters, who may join,
// what an operator should know. It is pure: it sees pictures and returns decisions; the leading master
// makes the pictures and carries the decisions out.
//
// # Voters
//
// A [Planner] belongs to one time of office. Its leader asks it with a [Picture] what to do and takes
// one [Step] at a time. The state between two steps is only what the registry and raft's configuration
// say, so that the next leader can go on from any of them:
//
//	raft id   in raft          is                            next
//	none      -                standby                       Assign
//	given     no, fresh        just assigned by this leader  AddLearner
//	given     no               left over                     Release
//	given     learner          catching up, or a warm copy   Promote, or Remove
//	given     voter            master                        Demote, or Remove
//	none      voter, learner   a stray                       Remove
//
// A raft id is one life of a raft log: a member that was removed must never come back with it. Only
// the leader that assigned an id knows that no log was ever begun under it, so any other one that is
// not in raft is released and the node gets a new one. That holds after a crash between two steps as
// well as after a recovery from a lost quorum.
//
// The rules (CLU-5, CLU-6, CLU-37):
//
//   - One change of the voters at a time, and none that leaves fewer voters alive than a quorum.
//   - The number of voters is odd but for passing: two learners are made ready before an odd number
//     grows, one before a voter is replaced. A learner for which there is no pair yet stays a learner:
//     a warm copy.
//   - A voter is replaced when it is barred, can be none any more, or was unreachable for long, and a
//     node is there to take its place. Without one, an unreachable voter is kept unless two are gone,
//     because fewer voters then bear one more loss; a barred one goes if a quorum remains.
//   - Preferred nodes come first, then those whose role names a master, then those that spread the
//     voters evenly over regions, zones, racks (attribute "rack") and hosts. A settled cluster still
//     exchanges one voter at a time for that, when all are alive.
//   - The leader stays while another will do; else leadership is transferred first.
package cluster
