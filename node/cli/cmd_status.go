package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clusterd/node/api"
)

func newStatusCommand() *cobra.Command {
	a := &admin{}
	var check bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the health of the cluster",
		Long: `Show the health of the cluster: its leader and quorum, how far each master's log is behind, how long its disk takes
to write, clock skew, when certificates end, and known problems, each with what to do. STATE HASH is that of a
backup taken at the same index. A node that does not reach the leading master shows what it knows by itself
and says so. With --check the exit status is 1 unless the leader is reached, with a quorum, and there is no problem of
severity error.`,
		Example: "  clusterd status\n  clusterd status --master m1,m2,m3 --check\n  clusterd status -o json | jq .problems",
		GroupID: "cluster",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readCluster(cmd, a, "/cluster/status", func(s *api.ClusterStatus) bool { return s.Stale })
			if err != nil {
				return err
			}
			asJSON, err := a.json()
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				err = writeStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && check && (s.Stale || !s.Quorum.OK || count(s.Problems, api.SeverityError) > 0) {
				return exitError{1}
			}
			return err
		},
	}
	a.addTo(cmd)
	a.addSocket(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "exit with status 1 if the cluster is not healthy")
	return cmd
}

// writeStatus shows a status to people.
func writeStatus(out io.Writer, s *api.ClusterStatus) error {
	name := s.ClusterID
	if s.Name != "" {
		name = s.Name + " (" + s.ClusterID + ")"
	}
	lines := [][2]string{{"Cluster", name}, {"Health", health(s)}, {"Leader", leaderText(s)}, {"Quorum", quorumText(s.Quorum)}}
	if s.Masters > 0 {
		lines = append(lines, [2]string{"Masters", fmt.Sprintf("the cluster keeps %d", s.Masters)})
	}
	if s.StateHash != "" {
		lines = append(lines, [2]string{"State hash", fmt.Sprintf("%s at index %d", s.StateHash, s.Index)})
	}
	if s.Stale {
		lines = append(lines, [2]string{"Stale", "the leading master is not reached: this is what the node knows by itself"})
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(out, "%-12s%s\n", l[0], printable(l[1])); err != nil {
			return err
		}
	}
	if len(s.Nodes) > 0 {
		fmt.Fprintln(out)
		t := newTable(out, "NODE", "RAFT", "AGENT", "CONTACT", "LAG", "CLOCK", "FSYNC P50/P99", "CERTIFICATE")
		for _, n := range s.Nodes {
			t.row(n.Name, n.RaftState, n.AgentState, contact(s, n), lag(n), skew(n), fsync(n), certificate(s, n))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return writeProblems(out, s.Problems)
}

func writeProblems(out io.Writer, problems []api.ClusterProblem) error {
	for i, p := range problems {
		if i == 0 {
			fmt.Fprintln(out, "\nProblems")
		}
		if _, err := fmt.Fprintf(out, "  %s: %s: %s\n      %s\n", printable(p.Severity), printable(p.Code), printable(p.Text), printable(p.Do)); err != nil {
			return err
		}
	}
	return nil
}

func count(problems []api.ClusterProblem, severity string) int {
	n := 0
	for _, p := range problems {
		if p.Severity == severity {
			n++
		}
	}
	return n
}

// health sums the status up in a few words.
func health(s *api.ClusterStatus) string {
	var parts []string
	switch {
	case s.Stale && s.Quorum.Voters == 0:
		parts = append(parts, "not known: the leading master is not reached")
	case !s.Quorum.OK:
		parts = append(parts, "no quorum: nothing can be changed, tasks go on")
	case s.Leader == nil:
		parts = append(parts, "no leader: an election is under way")
	}
	for _, c := range []struct{ severity, one, many string }{{api.SeverityError, "1 error", "%d errors"}, {api.SeverityWarning, "1 warning", "%d warnings"}} {
		switch n := count(s.Problems, c.severity); n {
		case 0:
		case 1:
			parts = append(parts, c.one)
		default:
			parts = append(parts, fmt.Sprintf(c.many, n))
		}
	}
	if parts == nil {
		return "ok"
	}
	return strings.Join(parts, "; ")
}

func leaderText(s *api.ClusterStatus) string {
	if s.Leader == nil {
		return fmt.Sprintf("none, term %d", s.Term)
	}
	return fmt.Sprintf("%s (%s), term %d", s.Leader.Name, s.Leader.Address, s.Term)
}

func quorumText(q api.ClusterQuorum) string {
	if q.Voters == 0 {
		return "not known to this node"
	}
	text := fmt.Sprintf("%d of %d masters reached, %d needed", q.Reachable, q.Voters, q.Needed)
	switch spare := q.Reachable - q.Needed; {
	case !q.OK:
	case spare == 0:
		text += ": no other may fail"
	default:
		text += fmt.Sprintf(": %d more may fail", spare)
	}
	return text
}

// contact is when the leader last heard from a node.
func contact(s *api.ClusterStatus, n api.ClusterNode) string {
	if n.RaftState == api.RaftLeader {
		return ""
	}
	return ago(s.Time, n.LastContact)
}

func lag(n api.ClusterNode) string {
	if n.LagEntries == nil {
		return ""
	}
	return strconv.FormatUint(*n.LagEntries, 10)
}

func skew(n api.ClusterNode) string {
	if n.ClockSkewMS == nil {
		return ""
	}
	whole := math.Round(*n.ClockSkewMS)
	if whole == 0 {
		return "0 ms" // without a sign
	}
	return fmt.Sprintf("%+.0f ms", whole)
}

func fsync(n api.ClusterNode) string {
	if n.DiskFsyncP50MS == nil || n.DiskFsyncP99MS == nil {
		return ""
	}
	return fmt.Sprintf("%.1f/%.1f ms", *n.DiskFsyncP50MS, *n.DiskFsyncP99MS)
}

// certificate is how long a node's certificate is still good.
func certificate(s *api.ClusterStatus, n api.ClusterNode) string {
	switch left := n.CertificateExpires.Sub(s.Time); {
	case n.CertificateExpires.IsZero():
		return ""
	case left <= 0:
		return "expired"
	default:
		return short(left.Round(time.Second))
	}
}
