package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"clusterd/raft/registry"
)

// Severity ranks problems.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one known condition of the cluster that an operator should know about.
type Problem struct {
	Code     string
	Severity Severity
	Text     string
	Do       string
}

// Vital is what is known of the health of one node.
type Vital struct {
	Member
	Skew            time.Duration // its clock less the leader's
	Lag             uint64        // log entries that a raft member misses
	FsyncP99        time.Duration // of its raft log, 0 if not known
	CertificateEnds time.Time     // zero if not known
}

// Vitals is what is known of the health of a cluster.
type Vitals struct {
	Masters             int
	ReplaceAfter        time.Duration
	CertificateLifetime time.Duration // from issue to end
	Nodes               []Vital
}

const (
	warnSkew     = time.Second
	warnLag      = 1000
	warnFsync    = 100 * time.Millisecond
	namesInTexts = 5
)

// Health returns the problems of a cluster, the worst first (CLU-7). Each is declared once, here: code,
// severity, text and what to do.
func Health(now time.Time, v Vitals) []Problem {
	var out []Problem
	for _, check := range []func(time.Time, Vitals) []Problem{
		checkQuorum, checkMasters, checkDomains, checkClocks, checkCertificates, checkLag, checkDisks, checkVersions,
	} {
		out = append(out, check(now, v)...)
	}
	slices.SortStableFunc(out, func(a, b Problem) int { return cmp.Compare(a.rank(), b.rank()) })
	return out
}

func (p Problem) rank() int {
	if p.Severity == Error {
		return 0
	}
	return 1
}

// having returns the nodes for which a condition holds.
func (v Vitals) having(condition func(Vital) bool) []Vital {
	return slices.DeleteFunc(slices.Clone(v.Nodes), func(n Vital) bool { return !condition(n) })
}

// names lists nodes to people, but not without end.
func names(nodes []Vital, more func(Vital) string) string {
	var all []string
	for _, n := range nodes[:min(len(nodes), namesInTexts)] {
		text := n.Node.GetName()
		if more != nil {
			text += " (" + more(n) + ")"
		}
		all = append(all, text)
	}
	text := strings.Join(all, ", ")
	if rest := len(nodes) - namesInTexts; rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

func checkQuorum(now time.Time, v Vitals) []Problem {
	voters := v.having(func(n Vital) bool { return n.Voter })
	down := v.having(func(n Vital) bool { return n.Voter && !n.Alive })
	if len(down) == 0 {
		return nil
	}
	list := names(down, func(n Vital) string {
		if n.LastHeard.IsZero() {
			return n.Node.GetPeerAddress() + ", not heard of yet"
		}
		return n.Node.GetPeerAddress() + ", silent for " + max(0, now.Sub(n.LastHeard)).Round(time.Second).String()
	})
	here := len(voters) - len(down)
	switch spare := here - quorum(len(voters)); {
	case spare < 0:
		return []Problem{{
			Code: "quorum-lost", Severity: Error,
			Text: fmt.Sprintf("%d of %d masters are unreachable, so that nothing can be changed: %s.", len(down), len(voters), list),
			Do:   "Start them again; running tasks go on meanwhile. If they are lost for good, stop this node and run `clusterd recover` on it.",
		}}
	case spare == 0:
		return []Problem{{
			Code: "master-unreachable", Severity: Error,
			Text: fmt.Sprintf("%d of %d masters are unreachable, and the loss of one more stops the cluster: %s.", len(down), len(voters), list),
			Do:   fmt.Sprintf("Start them again, or join another node: it takes the place of a master that is away for %s.", v.ReplaceAfter),
		}}
	default:
		return []Problem{{
			Code: "master-unreachable", Severity: Warning,
			Text: fmt.Sprintf("%d of %d masters are unreachable: %s.", len(down), len(voters), list),
			Do:   fmt.Sprintf("Start them again. One that is away for %s is replaced if another node can take its place.", v.ReplaceAfter),
		}}
	}
}

func checkMasters(_ time.Time, v Vitals) []Problem {
	voters := len(v.having(func(n Vital) bool { return n.Voter }))
	if voters == 0 || voters >= v.Masters {
		return nil
	}
	return []Problem{{
		Code: "too-few-masters", Severity: Warning,
		Text: fmt.Sprintf("The cluster has %s and should have %d.", count(voters, "master"), v.Masters),
		Do:   "Join more nodes with a role other than agent, or promote demoted ones: they become masters by themselves.",
	}}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkDomains warns of a fault domain whose loss would stop the cluster: of racks if nodes name theirs,
// else of zones. Without a word of domains from any master there is nothing to say.
func checkDomains(_ time.Time, v Vitals) []Problem {
	voters := v.having(func(n Vital) bool { return n.Voter })
	what, level := "rack", 3
	if !slices.ContainsFunc(voters, func(n Vital) bool { return rack(n.Node) != "" }) {
		what, level = "zone", 2
	}
	for _, n := range voters {
		name := rack(n.Node)
		if what == "zone" {
			name = n.Node.GetDomain().GetFaultDomain().GetZone().GetName()
		}
		same := slices.DeleteFunc(slices.Clone(voters), func(o Vital) bool { return shared(n.Node, o.Node) < level })
		if name == "" || len(same) < 2 || len(voters)-len(same) >= quorum(len(voters)) {
			continue
		}
		return []Problem{{
			Code: "fault-domain", Severity: Warning,
			Text: fmt.Sprintf("The loss of %s %s would stop the cluster: %d of %d masters are in it.", what, name, len(same), len(voters)),
			Do:   "Join nodes in other fault domains (--domain, or the attribute rack): the masters are spread over them.",
		}}
	}
	return nil
}

func checkClocks(_ time.Time, v Vitals) []Problem {
	skewed := v.having(func(n Vital) bool { return n.Skew.Abs() > warnSkew })
	if len(skewed) == 0 {
		return nil
	}
	p := Problem{
		Code: "clock-skew", Severity: Warning,
		Text: "Clocks differ from the leader's: " + names(skewed, func(n Vital) string {
			return fmt.Sprintf("%+.1f s", n.Skew.Seconds())
		}) + ".",
		Do: "Run NTP or chrony on all nodes.",
	}
	if slices.ContainsFunc(skewed, func(n Vital) bool { return n.Skew.Abs() > MaxSkew }) {
		p.Severity = Error
		p.Do += fmt.Sprintf(" Certificates fail when a clock is off by more than an hour; nodes that are off by more than %s cannot join.", MaxSkew)
	}
	return []Problem{p}
}

// checkCertificates warns when a certificate was not renewed at two thirds of its life, as it should be.
func checkCertificates(now time.Time, v Vitals) []Problem {
	late := v.having(func(n Vital) bool {
		return !n.CertificateEnds.IsZero() && n.CertificateEnds.Sub(now) < v.CertificateLifetime/4
	})
	if len(late) == 0 {
		return nil
	}
	p := Problem{
		Code: "certificate-not-renewed", Severity: Warning,
		Text: "Certificates end soon and were not renewed: " + names(late, func(n Vital) string {
			return n.CertificateEnds.UTC().Format(time.RFC3339)
		}) + ".",
		Do: "See the log of these nodes: each renews through the leader, which it must reach. A node whose certificate has ended must be removed and join again.",
	}
	if slices.ContainsFunc(late, func(n Vital) bool { return n.CertificateEnds.Sub(now) < v.CertificateLifetime/12 }) {
		p.Severity = Error
	}
	return []Problem{p}
}

func checkLag(_ time.Time, v Vitals) []Problem {
	lagging := v.having(func(n Vital) bool { return n.Voter && n.Alive && n.Lag > warnLag })
	if len(lagging) == 0 {
		return nil
	}
	return []Problem{{
		Code: "master-lagging", Severity: Warning,
		Text: "Masters are behind the leader: " + names(lagging, func(n Vital) string { return fmt.Sprintf("%d entries", n.Lag) }) + ".",
		Do:   "See whether their disk, their network or their CPU is overloaded.",
	}}
}

func checkDisks(_ time.Time, v Vitals) []Problem {
	slow := v.having(func(n Vital) bool { return n.FsyncP99 > warnFsync })
	if len(slow) == 0 {
		return nil
	}
	return []Problem{{
		Code: "slow-disk", Severity: Warning,
		Text: "Disks take long to write the raft log (99 of 100 writes within): " + names(slow, func(n Vital) string {
			return n.FsyncP99.Round(time.Millisecond).String()
		}) + ".",
		Do: "Put --data-dir on a local SSD that nothing else writes to.",
	}}
}

func checkVersions(_ time.Time, v Vitals) []Problem {
	var versions []string
	for _, n := range v.Nodes {
		if version := n.Node.GetVersion(); !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	if len(versions) < 2 {
		return nil
	}
	slices.SortFunc(versions, func(a, b string) int { return cmp.Or(registry.CompareVersions(a, b), cmp.Compare(a, b)) })
	old := v.having(func(n Vital) bool { return n.Node.GetVersion() != versions[len(versions)-1] })
	return []Problem{{
		Code: "mixed-versions", Severity: Warning,
		Text: fmt.Sprintf("Nodes run clusterd %s; not yet the newest: %s.", strings.Join(versions, ", "), names(old, func(n Vital) string { return n.Node.GetVersion() })),
		Do:   "Finish the upgrade: what needs the newest version on all masters stays off until then.",
	}}
}
