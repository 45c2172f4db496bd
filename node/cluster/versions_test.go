package cluster

import "testing"

// CLU-22 CLU-38
func TestCompatible(t *testing.T) {
	for _, test := range []struct{ mine, theirs, want string }{
		{"0.1.0", "0.1.0", ""}, {"0.1.0", "0.1.9", ""}, {"0.1.0-dev", "0.2.0", ""}, {"0.2.0", "0.1.0+x", ""}, {"1.0.0", "1.1.0-rc.1", ""}, {"0.0.5", "0.1.0", ""},
		{"0.1.0", "0.3.0", "clusterd 0.3.0 is too far from version 0.1.0 of the cluster: 0.0 to 0.2 are allowed"},
		{"0.3.0", "0.1.0", "clusterd 0.1.0 is too far from version 0.3.0 of the cluster: 0.2 to 0.4 are allowed"},
		{"1.0.0", "0.9.0", "clusterd 0.9.0 is too far from version 1.0.0 of the cluster: 1.0 to 1.1 are allowed"},
		{"1.0.0", "2.0.0", "clusterd 2.0.0 is too far from version 1.0.0 of the cluster: 1.0 to 1.1 are allowed"},
		{"0.1.0", "", `version "" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "1", `version "1" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "0.1", `version "0.1" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "a.b.c", `version "a.b.c" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "0.-1.0", `version "0.-1.0" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "0.99999999999.0", `version "0.99999999999.0" is not MAJOR.MINOR.PATCH`},
		{"0.1.0", "0.1.\t", `version "0.1.?" is not MAJOR.MINOR.PATCH`},
		{"junk", "0.1.0", `version "junk" is not MAJOR.MINOR.PATCH`},
	} {
		err := Compatible(test.mine, test.theirs)
		if got := message(err); got != test.want {
			t.Errorf("%q and %q: %q, want %q", test.mine, test.theirs, got, test.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
