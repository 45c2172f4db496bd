// Package cli is the command line of clusterd. dev and start run a node in this process; every other
// command is a thin client of the public HTTP API, finds the leading master through any member and
// works the same against a real Mesos where the API has what it needs.
//
// One file for each command, named cmd_<name>.go. To add a command: a constructor here that returns
// a *cobra.Command with Short, Long and Example set, its line in newRoot, a test in cmd_<name>_test.go
// and a line in CHANGELOG.md. Commands write to cmd.OutOrStdout, tables by newTable, JSON with
// -o json. They return errors; only Main turns them into text and an exit status: 0 success, 1
// failure, 2 wrong usage. `clusterd run` exits with the task's own status.
package cli
