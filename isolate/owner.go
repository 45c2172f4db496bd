package isolate

import "os"

// Chown gives path to user (a name or number; empty means the daemon's own and changes nothing). A
// symbolic link is changed itself, never what it points to. An unknown user is an [UnknownUserError].
func Chown(path, user string) error {
	c, err := lookupUser(user)
	if err != nil || c == nil {
		return err
	}
	return os.Lchown(path, int(c.UID), int(c.GID))
}
