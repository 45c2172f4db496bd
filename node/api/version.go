package api

import "time"

// MesosVersion is the version of Mesos whose API this package speaks. Clients parse it as integers
// separated by dots and choose features by it (SCH-18).
const MesosVersion = "1.12.0"

// Build says what this binary is. Empty fields are left out of answers, except User.
type Build struct {
	Version           string // clusterd's own version
	Time              time.Time
	User              string
	GitSHA, GitBranch string
	GitTag            string
}
