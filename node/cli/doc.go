// Package cli is the command line of clusterd. dev, start and join run a node in this process; restore and
// recover work on the files of one that does not run. Every other command is a thin client, of one of two
// kinds. Those for tasks speak the public HTTP API, find the leading master through any member and work the
// same against a real Mesos where the API has what it needs. Those for the cluster itself (cluster_client.go)
// speak the cluster's own API: nodes and status over HTTP with any node; all that change something through the
// socket in the data directory of the node on this machine, which passes it on to the leading master.
//
// One file for each command, named cmd_<name>.go. To add a command: a constructor here that returns
// a *cobra.Command with Short, Long and Example set, its line in newRoot, a test in cmd_<name>_test.go
// and a line in CHANGELOG.md. Commands write to cmd.OutOrStdout, tables by newTable, JSON with
// -o json. They return errors; only Main turns them into text and an exit status: 0 success, 1
// failure, 2 wrong usage. `clusterd run` exits with the task's own status.
package cli
