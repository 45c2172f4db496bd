package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// vitals makes the vital signs of the nodes of a sketch.
func vitals(t *testing.T, line string) Vitals {
	p := sketch(t, noon, line)
	v := Vitals{Masters: p.Masters, ReplaceAfter: p.ReplaceAfter, CertificateLifetime: 90 * 24 * time.Hour}
	for _, m := range p.Nodes {
		v.Nodes = append(v.Nodes, Vital{Member: m})
	}
	return v
}

// Each problem, its severity and its text. CLU-7 CLU-35
func TestHealth(t *testing.T) {
	const well = "a:leader b:voter c:voter d"
	for _, test := range []struct {
		name, seen string
		change     func(*Vitals)
		want       []string // code, severity, text
	}{
		{"well", well, nil, nil},
		{"one alone", "masters=1 a:leader", nil, nil},
		{"on a node that knows of no voter", "a b", nil, nil},
		{"a spare master is away", "masters=5 a:leader b:voter c:voter d:voter e:voter,dead=90s", nil, []string{
			"master-unreachable warning 1 of 5 masters are unreachable: e (host-e:5055, silent for 1m30s)."}},
		{"the last spare is away", "a:leader b:voter c:voter,unheard", nil, []string{
			"master-unreachable error 1 of 3 masters are unreachable, and the loss of one more stops the cluster: c (host-c:5055, not heard of yet)."}},
		{"no quorum", "a:voter b:voter,dead=1h c:voter,dead=2h", nil, []string{
			"quorum-lost error 2 of 3 masters are unreachable, so that nothing can be changed: b (host-b:5055, silent for 1h0m0s), c (host-c:5055, silent for 2h0m0s)."}},
		{"too few", "masters=5 a:leader b:voter c:voter", nil, []string{
			"too-few-masters warning The cluster has 3 masters and should have 5."}},
		{"one", "a:leader", nil, []string{"too-few-masters warning The cluster has 1 master and should have 3."}},
		{"racks", "a:leader,rack=1 b:voter,rack=1 c:voter,rack=2", nil, []string{
			"fault-domain warning The loss of rack 1 would stop the cluster: 2 of 3 masters are in it."}},
		{"racks are even", "a:leader,rack=1 b:voter,rack=3 c:voter,rack=2", nil, nil},
		{"racks of the same name in two zones", "a:leader,rack=1,in=r/x b:voter,rack=1,in=r/y c:voter,rack=2,in=r/x", nil, nil},
		{"zones", "a:leader,in=r/x b:voter,in=r/x c:voter,in=r/y", nil, []string{
			"fault-domain warning The loss of zone x would stop the cluster: 2 of 3 masters are in it."}},
		{"zones of the same name in two regions", "a:leader,in=r/x b:voter,in=s/x c:voter,in=r/y", nil, nil},
		{"five in three zones", "masters=5 a:leader,in=r/x b:voter,in=r/x c:voter,in=r/y d:voter,in=r/y e:voter,in=r/z", nil, nil},
		{"clocks", well, func(v *Vitals) {
			v.Nodes[0].Skew, v.Nodes[3].Skew, v.Nodes[1].Skew = time.Second, -1500*time.Millisecond, 90*time.Second
		}, []string{
			"clock-skew warning Clocks differ from the leader's: b (+90.0 s), d (-1.5 s)."}},
		{"clock far off", well, func(v *Vitals) { v.Nodes[3].Skew = -6 * time.Minute }, []string{
			"clock-skew error Clocks differ from the leader's: d (-360.0 s)."}},
		{"certificates", well, func(v *Vitals) {
			v.Nodes[0].CertificateEnds, v.Nodes[1].CertificateEnds = noon.Add(30*24*time.Hour), noon.Add(20*24*time.Hour)
		}, []string{"certificate-not-renewed warning Certificates end soon and were not renewed: b (2023-12-04T22:13:20Z)."}},
		{"certificate has ended", well, func(v *Vitals) { v.Nodes[1].CertificateEnds = noon.Add(-time.Hour) }, []string{
			"certificate-not-renewed error Certificates end soon and were not renewed: b (2023-11-14T21:13:20Z)."}},
		{"lag", "a:leader b:voter c:voter d:learner,behind", func(v *Vitals) { v.Nodes[1].Lag, v.Nodes[2].Lag, v.Nodes[3].Lag = 1000, 1001, 5000 }, []string{
			"master-lagging warning Masters are behind the leader: c (1001 entries)."}},
		{"disk", well, func(v *Vitals) {
			v.Nodes[1].FsyncP99, v.Nodes[2].FsyncP99 = 100*time.Millisecond, 1234567*time.Microsecond
		}, []string{
			"slow-disk warning Disks take long to write the raft log (99 of 100 writes within): c (1.235s)."}},
		{"versions", "a:leader,version=0.10.0 b:voter,version=0.9.0 c:voter,version=0.10.0", nil, []string{
			"mixed-versions warning Nodes run clusterd 0.9.0, 0.10.0; not yet the newest: b (0.9.0)."}},
		{"errors first", "masters=5 a:leader,version=0.2.0 b:voter c:voter,dead=1s", func(v *Vitals) { v.Nodes[0].FsyncP99 = time.Second; v.Nodes[1].Skew = time.Hour }, []string{
			"master-unreachable error", "clock-skew error", "too-few-masters warning", "slow-disk warning", "mixed-versions warning"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := vitals(t, test.seen)
			if test.change != nil {
				test.change(&v)
			}
			got := Health(noon, v)
			if len(got) != len(test.want) {
				t.Fatalf("problems %+v, want %q", got, test.want)
			}
			for i, p := range got {
				if text := fmt.Sprintf("%s %s %s", p.Code, p.Severity, p.Text); !strings.HasPrefix(text, test.want[i]) || test.want[i] == "" {
					t.Errorf("problem %q, want %q", text, test.want[i])
				}
				if !strings.HasSuffix(p.Text, ".") || !strings.HasSuffix(p.Do, ".") {
					t.Errorf("problem %+v", p)
				}
			}
		})
	}
}

// A great many nodes do not make a long text.
func TestHealthOfManyNodes(t *testing.T) {
	v := vitals(t, "masters=1 a:leader b c d e f g h i j k l m n o p")
	for i := range v.Nodes {
		v.Nodes[i].Skew = 2 * time.Second
	}
	got := Health(noon, v)
	if len(got) != 1 || !strings.Contains(got[0].Text, "a (+2.0 s), b (+2.0 s), c (+2.0 s), d (+2.0 s), e (+2.0 s) and 11 more.") {
		t.Errorf("problems %+v", got)
	}
}
