package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// Compatible says why nodes of two versions cannot be in one cluster, nil if they can: the major numbers
// are the same and the minor ones at most one apart (CLU-22, CLU-38). mine is that of the cluster.
func Compatible(mine, theirs string) error {
	major, minor, err := release(mine)
	if err != nil {
		return err
	}
	theirMajor, theirMinor, err := release(theirs)
	if err != nil {
		return err
	}
	if major == theirMajor && max(minor, theirMinor)-min(minor, theirMinor) <= 1 {
		return nil
	}
	least := fmt.Sprintf("%d.%d", major, max(minor, 1)-1)
	return fmt.Errorf("clusterd %s is too far from version %s of the cluster: %s to %d.%d are allowed", theirs, mine, least, major, minor+1)
}

// release is the major and the minor number of a version, which must be fit to be shown.
func release(version string) (major, minor uint64, err error) {
	first, rest, ok := strings.Cut(version, ".")
	second, _, more := strings.Cut(rest, ".")
	if ok && more && plain(strings.ReplaceAll(version, "+", "-")) {
		if major, err = strconv.ParseUint(first, 10, 31); err == nil {
			if minor, err = strconv.ParseUint(second, 10, 31); err == nil {
				return major, minor, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("version %q is not MAJOR.MINOR.PATCH", printable(version))
}
