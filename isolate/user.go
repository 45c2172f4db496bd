package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// credential is a looked-up user.
type credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"` // supplementary
}

// lookupUser finds a user by name or number. Nil means the daemon's own user:
// the name is empty, or it is the one we are already. A number that has no
// entry is accepted (ISO-117) with the group of the same number; an unknown name is
// an *UnknownUserError.
func lookupUser(name string) (*credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		id, nerr := strconv.ParseUint(name, 10, 32)
		if nerr != nil {
			return nil, &UnknownUserError{User: name}
		}
		if u, err = user.LookupId(name); err != nil {
			return ownOr(&credential{UID: uint32(id), GID: uint32(id), Groups: []uint32{}})
		}
	} else if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	c, err := credentialOf(u)
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	return ownOr(c)
}

func credentialOf(u *user.User) (*credential, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	c := &credential{UID: uint32(uid), GID: uint32(gid), Groups: []uint32{}}
	for _, id := range ids {
		g, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, uint32(g))
	}
	return c, nil
}

// ownOr refuses to become another user without the right to.
func ownOr(c *credential) (*credential, error) {
	if os.Geteuid() == 0 {
		return c, nil
	}
	if int(c.UID) == os.Geteuid() {
		return nil, nil
	}
	return nil, fmt.Errorf("run as user %d: not running as root: %w", c.UID, syscall.EPERM)
}

// Chown gives path to a user and its primary group; a link itself, not what it
// points to. Empty means the daemon's own user: nothing is done. An unknown user is
// an *UnknownUserError.
func Chown(path, user string) error {
	c, err := lookupUser(user)
	if err != nil || c == nil {
		return err
	}
	return os.Lchown(path, int(c.UID), int(c.GID))
}
